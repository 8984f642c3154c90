//! The UDP protocol in virtual time: bars of performance and the life of sessions.

mod bars;
mod life;
mod world;
