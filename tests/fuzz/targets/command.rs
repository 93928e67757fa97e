//! Any line is a command or a refusal.
#![no_main]

use libfuzzer_sys::fuzz_target;
use smtp_proto::Command;

fuzz_target!(|line: &[u8]| {
    let _ = Command::parse(line);
});
