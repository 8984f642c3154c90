//! Warming up before a release: the push node, and the peers that hold for it.
//!
//! A [`PushNode`] is told what shall be held by how many peers until when; peers with a [`Holder`] ask it for work, fetch what
//! they are given in the background, keep it, and show that they have it. Peers always call, so it works behind every NAT. What
//! is decided is decided by [`pcdn_core::warmup`]; here are the socket, the clock and the bytes.
//!
//! | file | what |
//! |---|---|
//! | `api` | the bodies of the HTTP API, and how peers sign theirs |
//! | `node`, `rounds`, `routes`, `openapi` | the push node |
//! | `presentation` | what a URL is: a resource, or what a playlist lists |
//! | `regions` | which addresses are which region |
//! | `superpeers` | who is preferred |
//! | `verdicts` | trackers are told how audits ended |
//! | `holder` | a peer that holds |

pub mod api;
mod holder;
mod node;
mod openapi;
mod presentation;
mod regions;
mod rounds;
mod routes;
mod superpeers;
mod verdicts;

pub use crate::http::call::{Call, CallError};
pub use holder::{Holder, HolderConfig};
pub use node::{PushNode, PushNodeConfig, PushNodeError};
pub use regions::{RegionError, Regions};
