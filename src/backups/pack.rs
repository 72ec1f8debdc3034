//! Compressed copies: gzip with what they hold in the header, and a checksum in the form of `sha256sum`.

use std::{
    ffi::OsString,
    fmt::Write as _,
    fs::{self, File},
    io::{self, Read, Seek as _, SeekFrom, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, ensure};
use flate2::{Compression, GzBuilder, read::GzDecoder};
use sha2::{Digest as _, Sha256};

use super::pace::Pace;
use crate::storage::Contents;

/// Bytes that are compressed together.
const CHUNK: usize = 64 * 1024;
/// First word of the comment in the header.
const PROGRAM: &str = "mattermost-telemetry";
/// First bytes of every gzip file.
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// Header of a backup.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Header {
    /// Size of the database.
    pub bytes: u64,
    /// See [`short`].
    pub state: String,
}

/// A state, in a few digits.
pub fn short(state: &str) -> String {
    if state.is_empty() { String::new() } else { hex(&Sha256::digest(state)[..16]) }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

impl Header {
    fn comment(contents: &Contents, bytes: u64) -> String {
        let Contents { reports, instances, state } = contents;
        let state = short(state);
        format!("{PROGRAM} bytes={bytes} reports={reports} instances={instances} state={state}")
    }

    fn parse(comment: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(comment).ok()?.strip_prefix(PROGRAM)?;
        let value = |name: &str| {
            text.split(' ').find_map(|part| part.strip_prefix(name)?.strip_prefix('='))
        };
        Some(Self { bytes: value("bytes")?.parse().ok()?, state: value("state")?.to_owned() })
    }

    /// Header of a backup; `None` for another file, and for one that lacks its end.
    pub fn read(path: &Path) -> Option<Self> {
        let mut file = File::open(path).ok()?;
        let decoder = GzDecoder::new(&file);
        let header = Self::parse(decoder.header()?.comment()?)?;
        let mut end = [0; 4];
        file.seek(SeekFrom::End(-4)).ok()?;
        file.read_exact(&mut end).ok()?;
        // gzip ends with the size, of which it has four bytes.
        (u64::from(u32::from_le_bytes(end)) == header.bytes & 0xffff_ffff).then_some(header)
    }
}

/// A writer or reader that computes the checksum of what passes.
struct Summed<F> {
    file: F,
    sum: Sha256,
}

impl<F: Write> Write for Summed<F> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.sum.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl<F: Read> Read for Summed<F> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(bytes)?;
        self.sum.update(&bytes[..read]);
        Ok(read)
    }
}

/// Compresses a copy into an empty file, syncs it, and returns its checksum.
pub fn pack(copy: &Path, contents: &Contents, to: &File, pace: &Pace) -> io::Result<String> {
    let mut from = File::open(copy)?;
    let bytes = from.metadata()?.len();
    pace.writes(to)?;
    let mut gzip = GzBuilder::new()
        .filename("telemetry.db")
        .comment(Header::comment(contents, bytes))
        .write(Summed { file: to, sum: Sha256::new() }, Compression::default());
    pass(&mut from, &mut gzip, pace)?;
    let summed = gzip.finish()?;
    to.sync_all()?;
    Ok(hex(&summed.sum.finalize()))
}

fn pass(from: &mut impl Read, to: &mut impl Write, pace: &Pace) -> io::Result<()> {
    let mut chunk = vec![0; CHUNK];
    loop {
        let read = from.read(&mut chunk)?;
        if read == 0 {
            return Ok(());
        }
        to.write_all(&chunk[..read])?;
        if !pace.goes_on() {
            let reason = if pace.is_full() { "the disk is nearly full" } else { "given up" };
            return Err(io::Error::other(reason));
        }
    }
}

/// Name of the checksum's file.
pub fn sum_of(path: &Path) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(".sha256");
    name.into()
}

/// Result of `unpack`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unpacked {
    /// True if there was a checksum to compare with.
    pub summed: bool,
}

/// A fault of a backup, which no second try repairs.
#[derive(Debug, thiserror::Error)]
#[error("{path} is damaged: {finding}", path = .path.display())]
pub struct Damaged {
    path: PathBuf,
    finding: String,
}

fn damaged(path: &Path, finding: impl Into<String>) -> anyhow::Error {
    Damaged { path: path.to_owned(), finding: finding.into() }.into()
}

/// Number of bytes that a backup, compressed or not, takes as a database.
///
/// # Errors
/// If it cannot be read.
pub fn expected_bytes(path: &Path) -> anyhow::Result<u64> {
    let size = fs::metadata(path).with_context(|| format!("cannot read {}", path.display()))?.len();
    Ok(Header::read(path).map_or(size, |header| header.bytes))
}

/// Writes the database of a backup, compressed or not, into a file, and syncs it. The checksum beside the
/// backup is compared, where there is one.
///
/// # Errors
/// One line that says what is wrong with the backup, or with the file that is written.
pub fn unpack(path: &Path, to: &File, pace: &Pace) -> anyhow::Result<Unpacked> {
    let unreadable = || format!("cannot read {}", path.display());
    let mut file = File::open(path).with_context(unreadable)?;
    let mut begin = Vec::new();
    Read::by_ref(&mut file).take(2).read_to_end(&mut begin).with_context(unreadable)?;
    file.rewind().with_context(unreadable)?;
    let expected = expected_sum(path)?;
    let mut to_file = to;
    let mut from = Summed { file, sum: Sha256::new() };
    pace.writes(to)?;
    let passed = if begin == GZIP {
        let mut gzip = GzDecoder::new(from);
        let passed = pass(&mut gzip, &mut to_file, pace);
        from = gzip.into_inner();
        passed
    } else {
        pass(&mut from, &mut to_file, pace)
    };
    // The checksum says more than an error of gzip, and is that of the whole file.
    io::copy(&mut from, &mut io::sink()).with_context(unreadable)?;
    let sum = hex(&from.sum.finalize());
    if let Some(expected) = &expected
        && *expected != sum
    {
        return Err(damaged(path, format!("its checksum is {sum} and not {expected}")));
    }
    passed.map_err(|error| match error.kind() {
        io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput | io::ErrorKind::UnexpectedEof => {
            damaged(path, error.to_string())
        }
        _ => anyhow::Error::new(error).context("cannot write the database"),
    })?;
    to.sync_all().context("cannot write the database")?;
    Ok(Unpacked { summed: expected.is_some() })
}

/// The checksum beside a backup.
fn expected_sum(path: &Path) -> anyhow::Result<Option<String>> {
    let file = sum_of(path);
    let text = match fs::read_to_string(&file) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => {
            return Err(error).with_context(|| format!("cannot read {}", file.display()));
        }
    };
    let sum = text.split_whitespace().next().unwrap_or_default().to_ascii_lowercase();
    let is_sum = sum.len() == 64 && sum.bytes().all(|byte| byte.is_ascii_hexdigit());
    ensure!(is_sum, "{} has no checksum in it", file.display());
    Ok(Some(sum))
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    fn contents() -> Contents {
        Contents { reports: 3, instances: 2, state: "some state".to_owned() }
    }

    #[test]
    fn a_copy_comes_back_and_damage_is_found() {
        let folder = TempDir::new().unwrap();
        let at = |name: &str| folder.path().join(name);
        let content: Vec<u8> = (0..300_000_u32).flat_map(|n| (n / 7).to_le_bytes()).collect();
        fs::write(at("copy"), &content).unwrap();
        let pace = Pace::alone(folder.path());
        let sum =
            pack(&at("copy"), &contents(), &File::create(at("packed")).unwrap(), &pace).unwrap();
        let header = Header { bytes: 1_200_000, state: short("some state") };
        assert_eq!(Header::read(&at("packed")), Some(header));
        assert_eq!(expected_bytes(&at("packed")).unwrap(), 1_200_000);
        let unpacked = |name: &str| {
            let to = File::create(at("unpacked")).unwrap();
            unpack(&at(name), &to, &pace).map_err(|error| format!("{error:#}"))
        };
        assert_eq!(unpacked("packed"), Ok(Unpacked { summed: false }));
        assert_eq!(fs::read(at("unpacked")).unwrap(), content);
        fs::write(at("packed.sha256"), format!("{sum}  packed\n")).unwrap();
        assert_eq!(unpacked("packed"), Ok(Unpacked { summed: true }));
        // A plain copy.
        assert_eq!(unpacked("copy"), Ok(Unpacked { summed: false }));
        assert_eq!(fs::read(at("unpacked")).unwrap(), content);

        let packed = fs::read(at("packed")).unwrap();
        let mut flipped = packed.clone();
        flipped[packed.len() / 2] ^= 1;
        for damaged in [&flipped[..], &packed[..packed.len() - 1], &packed[..packed.len() / 2], &[]]
        {
            fs::write(at("damaged"), damaged).unwrap();
            fs::write(at("damaged.sha256"), format!("{sum} *damaged\n")).unwrap();
            let refused = unpacked("damaged").unwrap_err();
            assert!(refused.contains("is damaged: its checksum"), "{refused}");
            fs::remove_file(at("damaged.sha256")).unwrap();
            if !damaged.is_empty() {
                let refused = unpacked("damaged").unwrap_err();
                assert!(refused.contains("is damaged"), "{refused}");
            }
        }
        fs::write(at("damaged"), &packed[..packed.len() - 1]).unwrap();
        assert_eq!(Header::read(&at("damaged")), None, "it lacks its end");
        assert_eq!(Header::read(&at("copy")), None);
        fs::write(at("packed.sha256"), "no sum\n").unwrap();
        assert!(unpacked("packed").unwrap_err().contains("no checksum"));
    }
}
