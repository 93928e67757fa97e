//! What all suites share: starting the real binary, waiting for its events.
