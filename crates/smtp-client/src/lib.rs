//! Outbound SMTP sessions: connect, STARTTLS, certificate verification with exact causes.
