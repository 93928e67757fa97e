//! The record of a delivery attempt: reason keys with status, explanation and advice; its formats.
