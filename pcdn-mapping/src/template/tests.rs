use super::*;

const FILE: &str = r#"
namespace = "films.example"
valid_for = "1h"

[[rule]]
name = "film"
host = ["*.films.example", "films.example:8080"]
path = '/u/[^/]+/(?<film>[^/]+)/(.*)'
key = "{film}/{2}"
keep = ["quality"]
manifest = "https://{host}/{film}/{2}.pcdn"
mirrors = ["https://b.films.example/{film}/{2}", "{film}:no"]

[[rule]]
host = "live.example"
drop = ["viewer"]
"#;

async fn map(url: &str) -> Result<Mapping, MapError> {
    Template::parse("films.toml", FILE).unwrap().map(&Url::parse(url).unwrap()).await
}

#[tokio::test]
async fn a_rule_names_the_content_and_its_places() {
    let mine = map("https://e1.films.example/u/me/brazil/part%201.mp4?quality=hd&token=x").await.unwrap();
    let yours = map("http://films.example:8080/u/you/brazil/part%201.mp4?quality=hd&v=3").await.unwrap();
    assert_eq!(mine.rid, yours.rid);
    assert_eq!(mine.by, "template rule film");
    assert_eq!(mine.dropped, ["token"]);
    assert_eq!(mine.valid_for, Duration::from_secs(3600));
    assert_eq!(mine.manifest.unwrap().as_str(), "https://e1.films.example/brazil/part%201.mp4.pcdn");
    let mirrors: Vec<&str> = mine.mirrors.iter().map(|url| url.as_str()).collect();
    assert_eq!(mirrors, ["https://b.films.example/brazil/part%201.mp4"]);
    let other = map("https://e1.films.example/u/me/brazil/part%201.mp4?quality=sd").await.unwrap();
    assert_ne!(mine.rid, other.rid);
}

#[tokio::test]
async fn a_rule_without_key_takes_host_path_and_the_query_that_is_left() {
    let rid = async |url| map(url).await.unwrap().rid;
    let one = rid("http://live.example/a?viewer=1&cam=2&token=x").await;
    assert_eq!(one, rid("http://live.example/a?cam=2&viewer=7").await);
    assert_ne!(one, rid("http://live.example/a?cam=3").await);
    assert_ne!(one, rid("http://live.example/b?cam=2").await);
}

#[tokio::test]
async fn what_no_rule_matches_is_unknown() {
    for url in ["http://other.example/", "http://films.example/u/a/b/c", "http://x.films.example/v/u/a/b/c"] {
        assert!(matches!(map(url).await, Err(MapError::Unknown)), "{url}");
    }
    assert!(matches!(map("ftp://live.example/").await, Err(MapError::NotHttp(_))));
}

/// `text` is refused at `line` with an error that says `what`.
fn check(text: &str, line: usize, what: &str) {
    let error = Template::parse("f.toml", text).unwrap_err();
    assert_eq!(error.line, line, "{error}");
    assert!(
        error.to_string().contains(what) && error.to_string().starts_with(&format!("f.toml:{line}: ")),
        "{error}"
    );
}

#[test]
fn errors_name_file_and_line() {
    check("", 1, "no [[rule]]");
    check("[[rule]]\nhost = 'h'\nkey = 7", 3, "string");
    check("[[rule]]\nhost = 'h'\nhots = 'h'", 3, "hots");
    check("[[rule]]\n\nhost = 'h'\npath = '('", 4, "not a regex");
    check("[[rule]]\nhost = 'h'\npath = 'a{2000}{2000}'", 3, "not a regex");
    check("[[rule]]\nhost = 'h'\npath = '(?<film>.*)'\nkey = '{movie}'", 4, "(film)");
    check("[[rule]]\nhost = 'h'\nkey = '{1}'", 3, "{1}");
    check("[[rule]]\nhost = 'h'\nkey = 'a{b'", 3, "brace");
    check("[[rule]]\nhost = 'h'\nmirrors = ['ok', '}']", 3, "brace");
    check("x = 1\n[[rule]]\nhost = 'h'", 1, "x");
    check("\n[[rule]]\nhost = 'h'\nkeep = []\ndrop = []", 2, "choose one");
    check("[[rule]]\nhost = []", 1, "empty list");
    check("valid_for = 'soon'\n[[rule]]\nhost = 'h'", 1, "soon");
    check("[[rule]]\nhost = 'h'\nrid = 'path'", 3, "\"url\"");
    check("[[rule]]\nhost = 'h'\nrid = 'url'\nkey = 'k'", 3, "choose one");
    check("[[rule]]\nhost = 'h'\npacks = ['aws', 'was']", 3, "was");
    check("[[rule]]\nhost = 'h'\nstrip = ['(']", 3, "not a regex");
    check("[[rule]]\nhost = 'h'\ngeneration = 'tag'", 3, "tag");
    check("[[alias]]\nhost = 'h'\nname = 'a/b'\n[[rule]]\nhost = 'h'", 1, "a/b");
}

#[test]
fn json_says_what_is_wrong_in_it() {
    let broken = Template::parse("f.json", "{\"rule\": [\n{]}").unwrap_err();
    assert_eq!(broken.line, 2, "{broken}");
    let wrong = Template::parse("f.json", "{\"rule\": [{\"host\": \"h\", \"hots\": 1}]}").unwrap_err();
    assert!(wrong.to_string().contains("hots"), "{wrong}");
}

#[tokio::test]
async fn several_cdns_of_one_origin_are_one_host() {
    let file = "[[alias]]\nhost = ['a.example', 'b.example']\nname = 'ab'\n[[rule]]\nhost = ['ab', 'c.example']\nrid = 'url'\n";
    let rules = Template::parse("f", file).unwrap();
    let rid = |url: &str| rules.decide(&Url::parse(url).unwrap()).unwrap().mapping.rid;
    assert_eq!(rid("http://a.example/f"), rid("https://b.example/f?token=1"));
    assert_ne!(rid("http://a.example/f"), rid("http://c.example/f"));
    let plain = crate::UrlHash::new().rid(&Url::parse("http://c.example/f").unwrap()).unwrap();
    assert_eq!(rid("http://c.example/f"), plain, "the same name as without rules");
}
