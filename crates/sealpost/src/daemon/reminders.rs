//! What weakens security is said again every hour, so that nobody forgets it (rows H10-01, H10-02).

use attempt::Level;
use mail_types::Timestamp;
use policy_cache::PolicyCache;
use settings::Settings;

use super::observe::Observer;

/// Each danger in the configuration.
pub(super) fn dangers(observer: &Observer, settings: &Settings) {
    for danger in settings::dangers(settings) {
        let text = danger.to_string();
        observer.process("config.dangerous", Level::Warn, &[("detail", &text)]);
    }
}

/// Each domain that an operator has exempted from its policy, with the end of that.
pub(super) fn exemptions(observer: &Observer, policies: &PolicyCache, now: Timestamp) {
    for view in policies.list() {
        let local = view.local.as_ref();
        let exemption = local.and_then(|local| local.exemption.as_ref());
        let Some(exemption) = exemption.filter(|e| e.is_active(now)) else {
            continue;
        };
        let until = exemption.until.rfc3339();
        let fields = [
            ("domain", view.domain.as_str()),
            ("until", until.as_str()),
            ("by", exemption.order.by.as_str()),
            ("why", exemption.order.reason.as_str()),
            (
                "detail",
                "its policy is not enforced: its mail is unprotected until then",
            ),
        ];
        observer.process("policy.exemption-in-force", Level::Warn, &fields);
    }
}
