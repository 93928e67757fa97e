//! nginx as a policy host (RFC 8461 section 3.3).

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;
use testkit::Leaf;

use crate::daemon::{Daemon, program};

/// One policy host; by default it does all right.
#[derive(Clone, Debug)]
pub struct NginxSite {
    domain: String,
    policy: String,
    certificate: String,
    content_type: String,
    redirect: Option<String>,
    rate: Option<u32>,
}

/// nginx with one server per policy domain, told apart by SNI.
pub struct Nginx {
    folder: TempDir,
    address: SocketAddr,
    sites: Vec<NginxSite>,
    daemon: Daemon,
}

impl NginxSite {
    /// Serves `policy` at `https://mta-sts.DOMAIN/.well-known/mta-sts.txt` with this certificate,
    /// right or wrong.
    pub fn new(domain: &str, policy: &str, leaf: &Leaf) -> Self {
        Self {
            domain: domain.to_owned(),
            policy: policy.to_owned(),
            certificate: format!(
                "ssl_certificate {}; ssl_certificate_key {};",
                leaf.cert_path.display(),
                leaf.key_path.display()
            ),
            content_type: "text/plain".into(),
            redirect: None,
            rate: None,
        }
    }

    /// Another `Content-Type`.
    #[must_use]
    pub fn content_type(mut self, content_type: &str) -> Self {
        content_type.clone_into(&mut self.content_type);
        self
    }

    /// 301 to this URL instead of the policy.
    #[must_use]
    pub fn redirect(mut self, url: &str) -> Self {
        self.redirect = Some(url.to_owned());
        self
    }

    /// So many octets of the body in a second.
    #[must_use]
    pub fn slow(mut self, rate: u32) -> Self {
        self.rate = Some(rate);
        self
    }

    fn server(&self, address: SocketAddr, folder: &Path) -> String {
        let answer = match &self.redirect {
            Some(url) => format!("return 301 {url};"),
            None => format!(
                "types {{ }} default_type {}; {}alias {};",
                self.content_type,
                self.rate
                    .map_or_else(String::new, |rate| format!("limit_rate {rate}; ")),
                self.file(folder)
            ),
        };
        format!(
            "server {{\n listen {address} ssl;\n server_name mta-sts.{};\n {}\n \
             location = /.well-known/mta-sts.txt {{ {answer} }}\n location / {{ return 404; }}\n}}\n",
            self.domain, self.certificate
        )
    }

    fn file(&self, folder: &Path) -> String {
        format!("{}/{}.txt", folder.display(), self.domain)
    }
}

impl Nginx {
    /// Serves these sites at `ip:443`.
    ///
    /// # Panics
    /// If it is not installed or does not start.
    pub async fn start(address: SocketAddr, sites: &[NginxSite]) -> Self {
        let folder = TempDir::with_prefix("nginx-").expect("a temporary folder");
        let sites = sites.to_vec();
        write(folder.path(), address, &sites);
        let daemon = launch(folder.path(), address).await;
        Self {
            folder,
            address,
            sites,
            daemon,
        }
    }

    /// Puts a site in the place of the one for the same domain, or beside the others.
    pub async fn replace(&mut self, site: NginxSite) {
        self.sites.retain(|s| s.domain != site.domain);
        self.sites.push(site);
        write(self.folder.path(), self.address, &self.sites);
        // A restart, since a reload leaves the old answers standing for an unknown time.
        self.daemon.stop();
        self.daemon = launch(self.folder.path(), self.address).await;
    }

    /// The access log: one line a request, `host "request line" status`.
    pub fn requests(&self) -> Vec<String> {
        let log = std::fs::read_to_string(self.folder.path().join("access.log"));
        log.unwrap_or_default().lines().map(str::to_owned).collect()
    }
}

fn write(folder: &Path, address: SocketAddr, sites: &[NginxSite]) {
    let dir = folder.display();
    // As root it gives its folders to this user; in a user namespace there is no other.
    let user = if rustix::process::geteuid().is_root() {
        "user root root;\n"
    } else {
        ""
    };
    let mut config = format!(
        "daemon off;\nmaster_process off;\n{user}pid {dir}/pid;\nerror_log {dir}/error.log info;\n\
         events {{ }}\nhttp {{\n\
         log_format seen '$host \"$request\" $status';\naccess_log {dir}/access.log seen;\n\
         client_body_temp_path {dir}/t1;\nproxy_temp_path {dir}/t2;\nfastcgi_temp_path {dir}/t3;\n\
         uwsgi_temp_path {dir}/t4;\nscgi_temp_path {dir}/t5;\n"
    );
    for site in sites {
        std::fs::write(site.file(folder), &site.policy).expect("a writable folder");
        config.push_str(&site.server(address, folder));
    }
    config.push_str("}\n");
    std::fs::write(folder.join("nginx.conf"), config).expect("a writable folder");
}

async fn launch(folder: &Path, address: SocketAddr) -> Daemon {
    let mut command = Command::new(program("nginx", "nginx-light"));
    command
        .arg("-p")
        .arg(folder)
        .arg("-c")
        .arg(folder.join("nginx.conf"))
        .arg("-e")
        .arg(folder.join("error.log"));
    let mut daemon = Daemon::start("nginx", &mut command, &folder.join("output"));
    daemon.wait_for_port(address).await;
    daemon
}
