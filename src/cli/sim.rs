//! `pcdn sim`: a swarm that is not there.

use std::path::Path;

use super::{Exit, Failure, tell};
use crate::config::Config;
use crate::sim::{Scenario, ScenarioError, Simulation};

/// Runs the verb with a built-in scenario's name or a TOML file; computes, so it needs no runtime.
pub(crate) fn run(scenario: Option<&str>, config: &Config) -> Result<Exit, Failure> {
    if config.sim.list {
        return list(config.json);
    }
    let name = scenario.ok_or_else(|| {
        Failure::new(Exit::Usage, "which scenario? pcdn sim --list names them, or give a TOML file")
    })?;
    let mut simulation = Simulation::of(find(name)?).map_err(faulty)?;
    if config.sim.peers > 0 {
        simulation = simulation.peers(config.sim.peers as usize);
    }
    if config.sim.seed > 0 {
        simulation = simulation.seed(config.sim.seed);
    }
    if let Some(duration) = config.sim.duration {
        simulation = simulation.duration(duration.0);
    }
    let outcome = simulation.run();
    if let Some(file) = &config.sim.svg {
        std::fs::write(file, outcome.to_svg()).map_err(|e| Failure::disk(format!("--svg {file}"), &e))?;
    }
    if config.json {
        tell::json(&outcome)?
    } else {
        tell::out(outcome.to_string().trim_end())?
    };
    if outcome.is_right() {
        return Ok(Exit::Done);
    }
    let exit = if outcome.wrong_bytes > 0 { Exit::Integrity } else { Exit::TimedOut };
    Err(Failure::new(exit, format!("{name}: not every viewer got everything; the figures say which")))
}

fn find(name: &str) -> Result<Scenario, Failure> {
    if Path::new(name).extension().is_none_or(|extension| extension != "toml") {
        return Scenario::builtin(name).map_err(|error| Failure::new(Exit::Usage, error));
    }
    let text = std::fs::read_to_string(name).map_err(|e| Failure::disk(name, &e))?;
    Scenario::parse(&text).map_err(faulty)
}

fn faulty(error: ScenarioError) -> Failure {
    Failure::new(Exit::Config, error)
}

fn list(json: bool) -> Result<Exit, Failure> {
    let scenarios: Vec<Scenario> = Scenario::builtins().collect();
    if json {
        return tell::json(&scenarios);
    }
    for scenario in scenarios {
        tell::out(&format!("{:<18} {:>6} peers  {}", scenario.name, scenario.peers(), scenario.about))?;
    }
    Ok(Exit::Done)
}
