//! The settings that come from the environment, as env files and compose files pass them on.
//!
//! An env file's line ends may be those of Windows, its quotes may arrive as a part of the value,
//! and a compose file passes an unset variable on as an empty one. One rule serves all settings:
//! blanks around a value and one pair of quotes around it are removed, and a value that is empty
//! then is an unset one.

use std::ffi::{OsStr, OsString};

use clap::{
    Arg, ArgMatches, Command,
    builder::Resettable,
    error::{Error, ErrorKind},
    parser::ValueSource,
};

/// Parses arguments together with the variables of the command that they name. Variables of other
/// commands are not looked at, since a wrong one is no reason to refuse this one.
pub fn matches(
    command: &Command,
    mut arguments: Vec<OsString>,
    variable: &dyn Fn(&OsStr) -> Option<OsString>,
) -> Result<ArgMatches, Error> {
    let mut without_environment = without_environment(command.clone());
    let given = without_environment.try_get_matches_from_mut(&arguments).or_else(|error| {
        match error.kind() {
            // The help names the variables, and the text comes before any of them is read.
            ErrorKind::DisplayHelp => command.clone().try_get_matches_from(&arguments),
            _ => Err(error),
        }
    })?;
    let (mut named, mut given, mut place) = (command, &given, 1);
    while let Some((name, matches)) = given.subcommand() {
        named = named.find_subcommand(name).expect("clap matched it");
        (given, place) = (matches, place + 1);
    }
    let mut flags = Vec::new();
    for argument in named.get_arguments() {
        let by_flag = given.value_source(argument.get_id().as_str());
        if by_flag != Some(ValueSource::CommandLine)
            && let Some(value) = setting(argument, variable)
                .map_err(|fault| named.clone().error(ErrorKind::InvalidValue, fault))?
        {
            let flag = argument.get_long().expect("a setting is a flag, too");
            flags.push(format!("--{flag}={value}").into());
        }
    }
    // They follow the name of the command, before anything that ends the flags.
    arguments.splice(place..place, flags);
    without_environment.try_get_matches_from(arguments)
}

fn without_environment(command: Command) -> Command {
    command
        .mut_args(|argument| argument.env(Resettable::Reset))
        .mut_subcommands(without_environment)
}

/// Value of a setting in the environment, or the fault that names it.
fn setting(
    argument: &Arg,
    variable: &dyn Fn(&OsStr) -> Option<OsString>,
) -> Result<Option<String>, String> {
    let Some((name, raw)) = argument.get_env().and_then(|name| Some((name, variable(name)?)))
    else {
        return Ok(None);
    };
    let name = name.display();
    let raw = raw.into_string().map_err(|_| format!("{name} is not UTF-8"))?;
    let value = bare(&raw).ok_or_else(|| {
        format!("{name} has quotes that do not match: leave them out, or put one pair around it")
    })?;
    // Somebody meant to set a secret. Without it everything is open.
    if value.is_empty() && !matches!(&*raw, "" | "\"\"" | "''") && argument.is_hide_env_values_set()
    {
        return Err(format!("{name} holds nothing but blanks; leave it empty for none"));
    }
    Ok((!value.is_empty()).then(|| value.to_owned()))
}

/// A value without the blanks and the pair of quotes around it; `None` if its quotes do not match.
fn bare(raw: &str) -> Option<&str> {
    let value = raw.trim();
    let Some(quote) =
        ['"', '\''].into_iter().find(|quote| value.starts_with(*quote) || value.ends_with(*quote))
    else {
        return Some(value);
    };
    let inner = value.strip_prefix(quote)?.strip_suffix(quote)?;
    (!inner.contains(quote)).then(|| inner.trim())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;
    use crate::cli::Arguments;

    /// The names that lead to each command, with what it needs to be carried out.
    fn commands() -> Vec<Vec<&'static str>> {
        vec![
            vec![],
            vec!["serve"],
            vec!["healthcheck"],
            vec!["backup", "FILE"],
            vec!["restore", "FILE"],
            vec!["export", "--format", "jsonl"],
            vec!["import", "FILE"],
            vec!["clock", "confirm"],
            vec!["verify"],
            vec!["quarantine", "--instance", "ID"],
            vec!["quarantine", "list"],
            vec!["quarantine", "lift", "1"],
            vec!["purge", "--instance", "ID"],
            vec!["values", "list"],
            vec!["values", "accept", "os", "VALUE"],
            vec!["simulate"],
            vec!["grafana", "provision", "DIR"],
            vec!["openapi"],
            vec!["rules"],
        ]
    }

    #[test]
    fn the_help_names_the_variable_of_each_setting() {
        for words in commands() {
            let arguments = ["mattermost-telemetry"]
                .iter()
                .chain(&words)
                .chain(&["--help"])
                .map(OsString::from);
            let shown = matches(&Arguments::command(), arguments.collect(), &|_| None);
            let help = shown.unwrap_err().to_string();
            for (_, variable, _) in settings(&words) {
                let variable = variable.to_str().unwrap();
                let is_named =
                    [']', '='].iter().any(|end| help.contains(&format!("[env: {variable}{end}")));
                assert!(is_named, "{variable}\n{help}");
            }
        }
    }

    /// Every setting of a command: its id, the variable, and a value that is not the default.
    fn settings(words: &[&str]) -> Vec<(String, OsString, String)> {
        let root = Arguments::command();
        let command = words
            .iter()
            .fold(&root, |command, word| command.find_subcommand(word).unwrap_or(command));
        let settings = command.get_arguments().filter_map(|argument| {
            let name = argument.get_env()?.to_owned();
            assert!(argument.get_action().takes_values(), "{name:?} is no flag with a value");
            let value = match name.to_str().unwrap() {
                "SERVER_ADDRESS" => "127.0.0.1:9",
                "DATABASE_URL" => "sqlite://other.db",
                "TRUSTED_PROXIES" => "10.0.0.0/8",
                "CORS_ALLOWED_ORIGINS" => "https://example.com",
                "LOG_FORMAT" => "json",
                "BACKUP_EVERY" => "12h",
                "BACKUP_KEEP" => "3d,2w",
                "PUBLIC_VIEW" => "true",
                "GRAFANA_URL" | "TELEMETRY_PAGE" => "https://grafana.example.com",
                "TELEMETRY_URL" | "ALERT_WEBHOOK_URL" => "http://telemetry:8080",
                "ALERT_MAIL" => "ops@example.com",
                // A number, or any text.
                _ => "7",
            };
            Some((argument.get_id().to_string(), name, value.to_owned()))
        });
        settings.collect()
    }

    /// Text of an argument where one variable has a value.
    fn parse(
        words: &[&str],
        id: &str,
        name: &OsStr,
        value: &OsStr,
    ) -> Result<Option<String>, String> {
        let arguments = ["mattermost-telemetry"].iter().chain(words).map(OsString::from).collect();
        let variable = |asked: &OsStr| (asked == name).then(|| value.to_owned());
        let found = matches(&Arguments::command(), arguments, &variable)
            .map_err(|error| error.to_string())?;
        let mut found = &found;
        while let Some((_, deeper)) = found.subcommand() {
            found = deeper;
        }
        let mut raw = found.get_raw(id).into_iter().flatten();
        Ok(raw.next().map(|raw| raw.to_str().unwrap().to_owned()))
    }

    #[test]
    fn each_command_is_in_the_list() {
        fn paths(command: &Command, path: &[&str], found: &mut Vec<String>) {
            found.push(path.join(" "));
            for below in command.get_subcommands() {
                paths(below, &[path, &[below.get_name()]].concat(), found);
            }
        }
        let mut found = Vec::new();
        paths(&Arguments::command(), &[], &mut found);
        for path in found {
            let listed = |words: &Vec<&str>| words.join(" ").starts_with(&path);
            assert!(commands().iter().any(listed), "{path} is missing");
        }
    }

    #[test]
    fn every_setting_of_every_command_is_read_by_one_rule() {
        for words in commands() {
            for (id, name, value) in settings(&words) {
                let secret = name == "READ_TOKEN";
                let read = |raw: &str| parse(&words, &id, &name, OsStr::new(raw));
                let unset = parse(&words, &id, OsStr::new("OTHER"), OsStr::new("")).unwrap();
                for empty in ["", "\"\"", "''"] {
                    assert_eq!(read(empty), Ok(unset.clone()), "{words:?} {name:?}={empty:?}");
                }
                for blank in [" ", "\t", "\r", "\" \"", "' '\r\n"] {
                    if secret {
                        let fault = read(blank).unwrap_err();
                        assert!(fault.contains("READ_TOKEN holds nothing"), "{fault}");
                    } else {
                        assert_eq!(read(blank), Ok(unset.clone()), "{words:?} {name:?}={blank:?}");
                    }
                }
                for (before, after) in [
                    ("", ""),
                    (" ", "\t"),
                    ("", "\r"),
                    ("\"", "\""),
                    ("'", "'\r\n"),
                    (" \" ", " \" "),
                ] {
                    let raw = format!("{before}{value}{after}");
                    assert_eq!(read(&raw), Ok(Some(value.clone())), "{words:?} {name:?}={raw:?}");
                }
                for (before, after) in [("\"", ""), ("", "'"), ("\"", "'"), ("\"", "\" \"")] {
                    let fault = read(&format!("{before}{value}{after}")).unwrap_err();
                    assert!(fault.contains(name.to_str().unwrap()), "{fault}");
                    assert!(!secret || !fault.contains(&value), "a secret is not shown: {fault}");
                }
                let garbage = std::os::unix::ffi::OsStrExt::from_bytes(b"\xff");
                let fault = parse(&words, &id, &name, garbage).unwrap_err();
                assert!(fault.contains(name.to_str().unwrap()), "{fault}");
            }
        }
    }

    #[test]
    fn a_flag_wins_and_a_variable_of_another_command_is_not_looked_at() {
        let wrong = OsStr::new("wrong");
        let days = OsStr::new("RETENTION_DAYS");
        let flag = ["serve", "--retention-days", "3"];
        assert_eq!(parse(&flag, "retention_days", days, wrong), Ok(Some("3".to_owned())));
        assert!(
            parse(&["serve"], "retention_days", days, wrong)
                .unwrap_err()
                .contains("RETENTION_DAYS")
        );
        assert!(parse(&[], "retention_days", days, wrong).unwrap_err().contains("RETENTION_DAYS"));
        parse(&["healthcheck"], "server_address", days, wrong).unwrap();
    }

    /// A file after `--` stays a file.
    #[test]
    fn what_follows_the_end_of_the_flags_is_left_alone() {
        let url = OsStr::new("sqlite://other.db");
        let words = ["backup", "--", "--copy.db"];
        let name = OsStr::new("DATABASE_URL");
        assert_eq!(parse(&words, "database_url", name, url), Ok(Some("sqlite://other.db".into())));
        assert_eq!(parse(&words, "file", name, url), Ok(Some("--copy.db".to_owned())));
    }
}
