//! The place of a database taken by another one. What is there is put aside and never deleted.
//!
//! The other file is whole and on disk before it gets the name that orders this. From then on whoever takes
//! the lock of the one server does the rest, in steps each of which can be the last one of a process.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::place::{beside, folder_of, rename_to_new, sync_folder};

/// Beginnings of what follows the name of the database: in the name of the file that takes its place, and of
/// those that are put aside.
const RESTORED: &str = "-restored-";
const REPLACED: &str = "-replaced-";

/// Orders that a file beside a database takes its place. `at` becomes a part of the names.
///
/// # Errors
/// The file system's error; nothing has happened then.
pub fn order(path: &Path, file: &Path, at: &str) -> io::Result<()> {
    fs::File::open(file)?.sync_all()?;
    rename_to_new(file, &beside(path, &format!("{RESTORED}{at}")))?;
    sync_folder(folder_of(path))
}

/// True if a file waits to take the place of a database.
pub fn is_ordered(path: &Path) -> bool {
    orders(path).is_ok_and(|orders| !orders.is_empty())
}

/// Carries out what is ordered, by the holder of the lock of the one server. Returns the name that the
/// database got which was there.
///
/// # Errors
/// The file system's error. The next call goes on.
pub fn carry_out(path: &Path) -> io::Result<Option<PathBuf>> {
    let mut put_aside = None;
    for (file, at) in orders(path)? {
        let aside = aside(path, &at);
        if path.symlink_metadata().is_ok() {
            rename_to_new(path, &aside)?;
        }
        // The log belongs to the file that was there, and is a part of it.
        for ending in ["-wal", "-shm"] {
            let log = beside(path, ending);
            if log.symlink_metadata().is_ok() {
                rename_to_new(&log, &beside(&aside, ending))?;
            }
        }
        rename_to_new(&file, path)?;
        sync_folder(folder_of(path))?;
        put_aside = aside.exists().then_some(aside);
    }
    Ok(put_aside)
}

/// Name for the database that is put aside: that of a call that was interrupted, or a new one where another
/// database was made since.
fn aside(path: &Path, at: &str) -> PathBuf {
    let first = beside(path, &format!("{REPLACED}{at}"));
    if !path.exists() || !first.exists() {
        return first;
    }
    let more = (2..).map(|number| beside(path, &format!("{REPLACED}{at}-{number}")));
    more.into_iter().find(|name| !name.exists()).unwrap_or(first)
}

/// Files that wait, with the last part of their names, in the order of these.
fn orders(path: &Path) -> io::Result<Vec<(PathBuf, String)>> {
    let Some(name) = path.file_name() else { return Ok(Vec::new()) };
    let begin = format!("{}{RESTORED}", name.to_string_lossy());
    let mut found = Vec::new();
    for entry in fs::read_dir(folder_of(path))? {
        let entry = entry?;
        if let Some(at) = entry.file_name().to_string_lossy().strip_prefix(&begin) {
            found.push((entry.path(), at.to_owned()));
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use tempfile::TempDir;

    use super::*;

    fn write(folder: &Path, name: &str, content: &str) {
        fs::write(folder.join(name), content).unwrap();
    }

    /// The files of a folder with their contents.
    fn files(folder: &Path) -> BTreeMap<String, String> {
        let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
        let content = |entry: &fs::DirEntry| fs::read_to_string(entry.path()).unwrap();
        entries.map(|entry| (entry.file_name().into_string().unwrap(), content(&entry))).collect()
    }

    fn expected(files: &[(&str, &str)]) -> BTreeMap<String, String> {
        files.iter().map(|(name, content)| ((*name).to_owned(), (*content).to_owned())).collect()
    }

    /// A process can end after each step; the next one goes on.
    #[test]
    fn what_is_ordered_is_carried_out_from_wherever_it_stopped() {
        let steps = [
            ("db", "db-replaced-T"),
            ("db-wal", "db-replaced-T-wal"),
            ("db-shm", "db-replaced-T-shm"),
            ("db-restored-T", "db"),
        ];
        for done in 0..=steps.len() {
            let folder = TempDir::new().unwrap();
            let (folder, path) = (folder.path(), folder.path().join("db"));
            for (name, content) in [("db", "old"), ("db-wal", "its log"), ("db-shm", "its index")] {
                write(folder, name, content);
            }
            write(folder, "part", "new");
            order(&path, &folder.join("part"), "T").unwrap();
            for (from, to) in &steps[..done] {
                fs::rename(folder.join(from), folder.join(to)).unwrap();
            }
            assert_eq!(is_ordered(&path), done < steps.len());
            let aside = carry_out(&path).unwrap();
            assert_eq!(aside.is_some(), done < steps.len());
            let expected = expected(&[
                ("db", "new"),
                ("db-replaced-T", "old"),
                ("db-replaced-T-wal", "its log"),
                ("db-replaced-T-shm", "its index"),
            ]);
            assert_eq!(files(folder), expected, "{done}");
            assert_eq!(carry_out(&path).unwrap(), None);
        }
    }

    #[test]
    fn nothing_that_is_there_is_lost() {
        let folder = TempDir::new().unwrap();
        let (folder, path) = (folder.path(), folder.path().join("db"));
        // None before.
        write(folder, "part", "first");
        order(&path, &folder.join("part"), "T").unwrap();
        assert_eq!(carry_out(&path).unwrap(), None);
        // One that was made after the one before had been put aside.
        write(folder, "db-replaced-T", "aside");
        write(folder, "part", "second");
        order(&path, &folder.join("part"), "T").unwrap();
        assert_eq!(carry_out(&path).unwrap(), Some(folder.join("db-replaced-T-2")));
        let expected =
            expected(&[("db", "second"), ("db-replaced-T", "aside"), ("db-replaced-T-2", "first")]);
        assert_eq!(files(folder), expected);
        // A name that is taken is not taken over.
        write(folder, "db-restored-T", "third");
        write(folder, "part", "fourth");
        order(&path, &folder.join("part"), "T").unwrap_err();
    }
}
