//! The tags of a master playlist.

use super::*;
use crate::hls::model::{Alternative, Master, SessionData, Steering, Variant};
use crate::hls::{VARIANTS_MAX, at_most};

pub(super) fn read<'t>(
    lines: impl Iterator<Item = Result<Line<'t>, FragmentError>>,
    scope: &mut Scope<'_>,
) -> Result<Master, FragmentError> {
    let mut master = Master { version: 1, ..Master::default() };
    // The list of the `STREAM-INF` whose URI is on the next line that is one.
    let mut stream: Option<String> = None;
    for line in lines {
        let line = line?;
        match line.kind() {
            Kind::Idle => {}
            Kind::Uri(uri) => {
                let Some(list) = stream.take() else { continue };
                let url = scope.url(uri, line.at)?;
                master.variants.push(variant(&Tag { list: &list, at: line.at }, url));
                at_most(VARIANTS_MAX, master.variants.len(), "variants")?;
            }
            Kind::Tag("EXT-X-STREAM-INF", list) => {
                stream = Some(scope.substitute(list, line.at)?.into_owned())
            }
            Kind::Tag("EXT-X-DEFINE", list) => {
                scope.define(list, line.at)?;
            }
            Kind::Tag("EXT-X-VERSION", value) => master.version = value.trim().parse().unwrap_or(1),
            Kind::Tag(name, list) if is_listed(name) => {
                with_tag(list, &line, scope, |tag, scope| take(&mut master, name, tag, scope))?;
            }
            Kind::Tag(..) => {}
        }
    }
    master.variables = std::mem::take(&mut scope.variables);
    Ok(master)
}

fn is_listed(name: &str) -> bool {
    let rest = name.strip_prefix("EXT-X-").unwrap_or_default();
    matches!(rest, "MEDIA" | "I-FRAME-STREAM-INF" | "SESSION-KEY" | "SESSION-DATA" | "CONTENT-STEERING")
}

fn take(master: &mut Master, name: &str, tag: &Tag<'_>, scope: &mut Scope<'_>) -> Result<(), FragmentError> {
    match name {
        "EXT-X-MEDIA" => {
            let text = |name| tag.text(name).unwrap_or_default();
            master.alternatives.push(Alternative {
                kind: text("TYPE"),
                group: text("GROUP-ID"),
                name: text("NAME"),
                language: tag.text("LANGUAGE"),
                url: tag.url("URI", scope)?,
                default: tag.yes("DEFAULT"),
            });
            at_most(VARIANTS_MAX, master.alternatives.len(), "alternative renditions")
        }
        "EXT-X-I-FRAME-STREAM-INF" => {
            if let Some(url) = tag.url("URI", scope)? {
                master.i_frames.push(variant(tag, url));
            }
            at_most(VARIANTS_MAX, master.i_frames.len(), "I-frame streams")
        }
        "EXT-X-SESSION-KEY" => {
            master.session_keys.extend(tag.key(scope));
            at_most(VARIANTS_MAX, master.session_keys.len(), "session keys")
        }
        "EXT-X-SESSION-DATA" => {
            let id = tag.text("DATA-ID").unwrap_or_default();
            let data = SessionData { id, value: tag.text("VALUE"), url: tag.url("URI", scope)? };
            master.session_data.push(data);
            at_most(VARIANTS_MAX, master.session_data.len(), "session data")
        }
        _ => {
            let pathway = tag.text("PATHWAY-ID");
            master.steering = tag.url("SERVER-URI", scope)?.map(|url| Steering { url, pathway });
            Ok(())
        }
    }
}

fn variant(tag: &Tag<'_>, url: Url) -> Variant {
    Variant {
        url,
        bandwidth: tag.number("BANDWIDTH").unwrap_or(0),
        average_bandwidth: tag.number("AVERAGE-BANDWIDTH"),
        codecs: tag.text("CODECS"),
        resolution: tag.get("RESOLUTION").and_then(resolution),
        frame_rate: tag.number("FRAME-RATE"),
        audio: tag.text("AUDIO"),
        video: tag.text("VIDEO"),
        subtitles: tag.text("SUBTITLES"),
        pathway: tag.text("PATHWAY-ID"),
        name: tag.text("STABLE-VARIANT-ID").or_else(|| tag.text("NAME")),
    }
}

fn resolution(text: &str) -> Option<(u32, u32)> {
    let (width, height) = text.split_once(['x', 'X'])?;
    Some((width.trim().parse().ok()?, height.trim().parse().ok()?))
}
