//! A stranger's parts for pcdn: a mapper, a scheduler, and a module that uses the framework's seams.

pub mod lobby;
pub mod mapper;
pub mod scheduler;
