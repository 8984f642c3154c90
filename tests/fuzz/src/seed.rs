//! What fuzzing starts from.

use std::path::Path;

/// A valid input, or a bad one worth damaging.
pub struct Seed {
    pub name: String,
    pub bytes: Vec<u8>,
    pub good: bool,
}

impl Seed {
    pub fn good(bytes: Vec<u8>) -> Self {
        Self { name: "of this program".to_owned(), bytes, good: true }
    }

    /// All files in some directories of the repository, by name. Those whose names begin with `bad` must be refused.
    pub fn files(directories: &[&str]) -> Vec<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let mut seeds = Vec::new();
        for directory in directories {
            let entries = std::fs::read_dir(root.join(directory))
                .unwrap_or_else(|error| panic!("{directory}: {error}"));
            for entry in entries {
                let path = entry.expect("an entry of a directory").path();
                let name = path.file_name().expect("a file has a name").to_string_lossy().into_owned();
                let bytes =
                    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
                seeds.push(Self { good: !name.starts_with("bad"), name, bytes });
            }
        }
        seeds.sort_by(|one, other| one.name.cmp(&other.name));
        seeds
    }
}
