//! The contact point of the alert rules: where Grafana sends what fires.

use clap::Args;

use super::{address, quoted};

/// Name of the contact point in Grafana.
const NAME: &str = "Mattermost telemetry";
/// The last line of each rule in the embedded file.
const END_OF_RULE: &str = "        isPaused: false\n";

#[derive(Debug, Args)]
pub struct Contact {
    /// Address to which Grafana posts alerts
    #[arg(long = "alert-webhook", env = "ALERT_WEBHOOK_URL", value_name = "ALERT_WEBHOOK_URL", value_parser = address)]
    webhook: Option<String>,
    /// Mail addresses to which Grafana sends alerts, with commas in between; its own settings name the
    /// mail server
    #[arg(long = "alert-mail", env = "ALERT_MAIL", value_name = "ALERT_MAIL", value_parser = mail)]
    mail: Option<String>,
}

impl Contact {
    /// Path of the file with the contact point.
    pub const FILE: &str = "provisioning/alerting/contact.yaml";

    /// The file with the contact point; `None` where nothing is set.
    pub fn file(&self) -> Option<String> {
        let receivers = [
            ("telemetry-webhook", "webhook", "url", &self.webhook),
            ("telemetry-mail", "email", "addresses", &self.mail),
        ];
        let receivers = receivers.iter().filter_map(|(uid, kind, setting, value)| {
            let value = quoted(value.as_deref()?);
            Some(format!(
                "      - uid: {uid}\n        type: {kind}\n        settings:\n          {setting}: {value}\n"
            ))
        });
        let receivers: String = receivers.collect();
        let begin = format!(
            "apiVersion: 1\n\ncontactPoints:\n  - orgId: 1\n    name: {NAME}\n    receivers:\n"
        );
        (!receivers.is_empty()).then(|| begin + &receivers)
    }

    /// The rules with this contact point as their receiver. Each rule names it: a provisioned notification
    /// policy would replace the whole tree of policies, the operator's own included.
    pub fn route(&self, rules: &str) -> String {
        if self.file().is_none() {
            return rules.to_owned();
        }
        let routed =
            format!("{END_OF_RULE}        notification_settings:\n          receiver: {NAME}\n");
        rules.replace(END_OF_RULE, &routed)
    }
}

fn mail(text: &str) -> Result<String, String> {
    let is_address = |address: &str| {
        let sides = address.split_once('@');
        sides
            .is_some_and(|(name, host)| !name.is_empty() && !host.is_empty() && !host.contains('@'))
            && !address.contains(|c: char| c.is_whitespace() || c.is_control() || c == ';')
    };
    let addresses: Vec<&str> = text.split(',').map(str::trim).collect();
    if addresses.iter().all(|address| is_address(address)) {
        Ok(addresses.join(","))
    } else {
        Err(format!("{text:?} is not a list of addresses such as ops@example.com"))
    }
}
