//! The command `grafana`: writes Grafana's data source, dashboards and alert rules into a folder.

mod collectors;
mod contact;

use std::{
    borrow::Cow,
    collections::BTreeSet,
    fs::{self, Permissions},
    io::{self, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::{Component, Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context as _;
use clap::{Args, Subcommand};
use http::Uri;
use include_dir::{Dir, include_dir};

use crate::config::{Link, link};
use contact::Contact;

static EMBEDDED: Dir = include_dir!("$CARGO_MANIFEST_DIR/grafana");

/// Folders that are written. Nothing else in the target changes, but for the list below.
const FOLDERS: [&str; 2] = ["dashboards", "provisioning"];
/// The link of the overview to the server's page, as the embedded file has it.
const PAGE: &str = "\"http://localhost:8080/\"";
/// Names the files that were written. The next version removes those that it has no more: two
/// dashboards with one uid, an old file and a new one, and Grafana would load neither anew.
const LIST: &str = ".provisioned";
/// Grafana runs as another user.
const FILE_MODE: u32 = 0o644;
const FOLDER_MODE: u32 = 0o755;

#[derive(Debug, Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Write Grafana's data source, dashboards and alert rules into a folder; what is up to date stays
    Provision(Provision),
}

#[derive(Debug, Args)]
struct Provision {
    /// Address at which Grafana reaches the server; Grafana's own variable if not given
    #[arg(long, env = "TELEMETRY_URL", value_name = "TELEMETRY_URL", value_parser = address)]
    server: Option<String>,
    /// Path of DIR/dashboards for Grafana; Grafana's own variable if not given
    #[arg(long, env = "TELEMETRY_DASHBOARDS", value_name = "TELEMETRY_DASHBOARDS")]
    dashboards: Option<String>,
    /// Address of the server's page for a browser, to which the overview links; port 8080 of this
    /// machine if not given
    #[arg(long, env = "TELEMETRY_PAGE", value_name = "TELEMETRY_PAGE", default_value = "", value_parser = link)]
    page: Link,
    #[command(flatten)]
    contact: Contact,
    /// Write them for an engine that gathers several servers, such as a Prometheus, whose address
    /// `--server` names; a variable of the dashboards selects collectors
    #[arg(long)]
    collectors: bool,
    /// Folder for `dashboards` and `provisioning`; created if missing
    dir: PathBuf,
}

pub fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let Command::Provision(provision) = &arguments.command;
    let Done { written, unchanged, removed } = provision.carry_out()?;
    println!("{written} written, {unchanged} unchanged, {removed} removed");
    Ok(ExitCode::SUCCESS)
}

#[derive(Debug, Default)]
struct Done {
    written: usize,
    unchanged: usize,
    removed: usize,
}

impl Provision {
    fn carry_out(&self) -> anyhow::Result<Done> {
        create_folder(&self.dir)?;
        for folder in FOLDERS {
            create_folder(&self.dir.join(folder))?;
        }
        let mut done = Done::default();
        let mut names = BTreeSet::new();
        let embedded = files(&EMBEDDED).into_iter();
        let embedded = embedded.map(|file| anyhow::Ok((file.path(), self.content(file)?)));
        let contact = self
            .contact
            .file()
            .map(|file| anyhow::Ok((Path::new(Contact::FILE), file.into_bytes())));
        for file in embedded.chain(contact) {
            let (name, content): (&Path, Vec<u8>) = file?;
            let target = self.dir.join(name);
            target.parent().map_or(Ok(()), create_folder)?;
            if update(&target, &content)? {
                done.written += 1;
            } else {
                done.unchanged += 1;
            }
            names.insert(name);
        }
        let list = self.dir.join(LIST);
        for name in fs::read_to_string(&list).unwrap_or_default().lines().map(Path::new) {
            if is_ours(name) && !names.contains(name) {
                done.removed += usize::from(remove(&self.dir.join(name))?);
            }
        }
        let mut listed = String::new();
        for name in &names {
            listed += &format!("{}\n", name.display());
        }
        update(&list, listed.as_bytes())?;
        Ok(done)
    }

    /// The content of a file for this Grafana.
    fn content(&self, file: &include_dir::File) -> anyhow::Result<Vec<u8>> {
        let content = if self.collectors {
            collectors::variant(file.path(), file.contents())?
        } else {
            Cow::Borrowed(file.contents())
        };
        Ok(self.filled_in(&content))
    }

    /// A file with what is given in place of Grafana's variables.
    fn filled_in(&self, content: &[u8]) -> Vec<u8> {
        let settings =
            [("${TELEMETRY_URL}", &self.server), ("${TELEMETRY_DASHBOARDS}", &self.dashboards)];
        let mut text = String::from_utf8_lossy(content).into_owned();
        for (variable, setting) in settings {
            if let Some(value) = setting.as_deref().filter(|value| !value.is_empty()) {
                text = text.replace(variable, &quoted(value));
            }
        }
        if let Some(page) = &self.page.0 {
            let page = serde_json::Value::from(format!("{page}/"));
            text = text.replace(PAGE, &page.to_string());
        }
        self.contact.route(&text).into_bytes()
    }
}

/// All embedded files but hidden ones.
fn files<'a>(folder: &'a Dir<'a>) -> Vec<&'a include_dir::File<'a>> {
    let hidden = |path: &Path| {
        path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
    };
    let own = folder.files().filter(|file| !hidden(file.path()));
    own.chain(folder.dirs().flat_map(files)).collect()
}

/// A YAML string, which any JSON string is, that Grafana reads as `value`: its variables begin
/// with `$`, and `$$` is a plain one.
fn quoted(value: &str) -> String {
    serde_json::Value::from(value.replace('$', "$$")).to_string()
}

/// Returns whether a listed name is below one of the folders: anyone may edit the list.
fn is_ours(name: &Path) -> bool {
    FOLDERS.iter().any(|folder| name.starts_with(folder))
        && name.components().all(|part| matches!(part, Component::Normal(_)))
}

/// Creates what is missing of a folder, open to all readers.
fn create_folder(folder: &Path) -> anyhow::Result<()> {
    let missing =
        folder.ancestors().take_while(|part| !part.as_os_str().is_empty() && !part.is_dir());
    let mut missing: Vec<&Path> = missing.collect();
    missing.reverse();
    let create = |part: &&Path| {
        fs::create_dir(part)?;
        fs::set_permissions(part, Permissions::from_mode(FOLDER_MODE))
    };
    missing
        .iter()
        .try_for_each(create)
        .with_context(|| format!("cannot create the folder {}", folder.display()))
}

/// Makes a file hold `content`, at once and not bit by bit: Grafana may be reading. Returns
/// whether it had to be written.
fn update(file: &Path, content: &[u8]) -> anyhow::Result<bool> {
    let update = || -> io::Result<bool> {
        if fs::read(file).is_ok_and(|present| present == content) {
            if fs::metadata(file)?.permissions().mode() & 0o7777 != FILE_MODE {
                fs::set_permissions(file, Permissions::from_mode(FILE_MODE))?;
            }
            return Ok(false);
        }
        let part = part_of(file);
        write_new(&part, content).and_then(|()| fs::rename(&part, file)).inspect_err(|_| {
            let _ = fs::remove_file(&part);
        })?;
        Ok(true)
    };
    update().with_context(|| format!("cannot write {}", file.display()))
}

/// File that is written first: beside the target, hidden, with an ending that Grafana ignores.
fn part_of(file: &Path) -> PathBuf {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    file.with_file_name(format!(".{name}.part"))
}

fn write_new(part: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = fs::File::create(part)?;
    file.set_permissions(Permissions::from_mode(FILE_MODE))?;
    file.write_all(content)?;
    file.sync_all()
}

/// Returns whether there was something to remove.
fn remove(file: &Path) -> anyhow::Result<bool> {
    match fs::remove_file(file) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error).with_context(|| format!("cannot remove {}", file.display())),
    }
}

fn address(text: &str) -> Result<String, String> {
    let is_http = text.parse::<Uri>().is_ok_and(|url| {
        matches!(url.scheme_str(), Some("http" | "https")) && url.host().is_some()
    });
    if is_http {
        Ok(text.to_owned())
    } else {
        Err(format!("{text:?} is not an address such as http://telemetry:8080"))
    }
}
