//! The cache against fakes of DNS, policy hosts, clock and disk.

mod doubt;
mod first_contact;
mod known_policy;
mod on_disk;
mod orders;
mod own_faults;
mod parallel;
mod refresh;
mod world;
mod year;
