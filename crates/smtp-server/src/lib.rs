//! Listeners and inbound SMTP sessions; declares the port through which mail is handed over.
