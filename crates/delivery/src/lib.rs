//! Plan, attempt, outcome: joins queue, policies, resolver and client.
