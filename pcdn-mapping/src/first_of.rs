//! Several mappers, asked in turn.

use std::sync::Arc;

use pcdn_core::async_trait;
use pcdn_core::mapping::{MapError, Mapper};
use pcdn_core::resource::{Mapping, Url};

/// The first mapper that answers. One that does not know the URL, or fails, leaves it to the next: mapping must never stop
/// playback. If none answers, the error is the last failure, or [`MapError::Unknown`].
#[derive(Clone, Debug, Default)]
pub struct FirstOf {
    mappers: Vec<Arc<dyn Mapper>>,
}

impl FirstOf {
    /// Asks `mappers` in this order.
    pub fn new(mappers: Vec<Arc<dyn Mapper>>) -> Self {
        Self { mappers }
    }

    /// Asks `mapper` after all others.
    pub fn or(mut self, mapper: impl Mapper) -> Self {
        self.mappers.push(Arc::new(mapper));
        self
    }
}

#[async_trait]
impl Mapper for FirstOf {
    async fn map(&self, url: &Url) -> Result<Mapping, MapError> {
        let mut last = MapError::Unknown;
        for mapper in &self.mappers {
            match mapper.map(url).await {
                Ok(mapping) => return Ok(mapping),
                Err(MapError::Unknown) => {}
                Err(error) => {
                    tracing::warn!(%error, "a mapper failed; the next one is asked");
                    last = error;
                }
            }
        }
        Err(last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pcdn_core::id::Rid;
    use pcdn_core::mapping::MockMapper;

    fn mapper(answer: fn() -> Result<Mapping, MapError>) -> MockMapper {
        let mut mock = MockMapper::new();
        mock.expect_map().returning(move |_| answer());
        mock
    }

    fn known() -> Result<Mapping, MapError> {
        Ok(Mapping::to(Rid([1; 32]), "mock"))
    }

    fn silent() -> Result<Mapping, MapError> {
        Err(MapError::Silent { node: "m".into() })
    }

    async fn check(answers: &[fn() -> Result<Mapping, MapError>], want: &str) {
        let first = answers.iter().fold(FirstOf::default(), |all, answer| all.or(mapper(*answer)));
        let got = first.map(&Url::parse("http://h.example/").unwrap()).await;
        assert!(format!("{got:?}").contains(want), "{got:?}");
    }

    #[tokio::test]
    async fn the_first_that_answers_decides() {
        let unknown = || Err(MapError::Unknown);
        check(&[], "Unknown").await;
        check(&[unknown, known], "mock").await;
        check(&[silent, known], "mock").await;
        check(&[silent, unknown], "Silent").await;
        check(&[known, || unreachable!("not asked")], "mock").await;
    }
}
