//! Which elements mean something, and where.

/// An element that means something to us, in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tag {
    Mpd,
    Period,
    Set,
    Representation,
    BaseUrl,
    Location,
    PatchLocation,
    Steering,
    UtcTiming,
    SegmentBase,
    SegmentList,
    SegmentTemplate,
    Timeline,
    S,
    SegmentUrl,
    Initialization,
    /// `RepresentationIndex` and `BitstreamSwitching`: files a player may ask for and that are no segments.
    Aside,
    Other,
}

impl Tag {
    /// What an element called `name` is below `parent`; the root has none.
    pub(super) fn of(parent: Option<Tag>, name: &str) -> Tag {
        use Tag::*;
        let Some(parent) = parent else { return if name == "MPD" { Mpd } else { Other } };
        match (parent, name) {
            (Mpd, "Period") => Period,
            (Period, "AdaptationSet") => Set,
            (Set, "Representation") => Representation,
            (Mpd | Period | Set | Representation, "BaseURL") => BaseUrl,
            (Mpd, "Location") => Location,
            (Mpd, "PatchLocation") => PatchLocation,
            (Mpd, "ContentSteering") => Steering,
            (Mpd, "UTCTiming") => UtcTiming,
            (Period | Set | Representation, "SegmentBase") => SegmentBase,
            (Period | Set | Representation, "SegmentList") => SegmentList,
            (Period | Set | Representation, "SegmentTemplate") => SegmentTemplate,
            (SegmentList | SegmentTemplate, "SegmentTimeline") => Timeline,
            (Timeline, "S") => S,
            (SegmentList, "SegmentURL") => SegmentUrl,
            (SegmentBase | SegmentList | SegmentTemplate, "Initialization") => Initialization,
            (SegmentBase | SegmentList | SegmentTemplate, "RepresentationIndex" | "BitstreamSwitching") => {
                Aside
            }
            _ => Other,
        }
    }

    /// Inside what an element called `name` stands that is fetched by itself; the whole manifest stands inside nothing.
    pub(super) fn around(name: &str) -> Option<Tag> {
        Some(match name {
            "MPD" => return None,
            "Period" => Tag::Mpd,
            "AdaptationSet" => Tag::Period,
            "Representation" => Tag::Set,
            "SegmentBase" | "SegmentList" | "SegmentTemplate" => Tag::Representation,
            _ => Tag::Other,
        })
    }

    /// Whether its text means something.
    pub(super) fn has_text(self) -> bool {
        matches!(self, Tag::BaseUrl | Tag::Location | Tag::Steering)
    }
}
