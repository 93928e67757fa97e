//! The content arrives as it was sent: octet for octet below our own trace field.

use testkit::{Extensions, FakeMx};

use crate::net::{MESSAGE, Net, SOON, bounced, sent};

testkit::net_test! {
    async fn e3_01_e3_02_e3_03_e3_09_e3_10_e3_12_odd_content_arrives_unchanged_by_data_and_by_bdat() {
        let net = Net::start().await;
        let chunked = net.plain_mx("bdat.test", "127.0.1.1").await;
        let dotted = net.plain_mx("data.test", "127.0.1.2").await;
        dotted.script(|s| s.extensions.chunking = false);
        let slow = net.plain_mx("bare.test", "127.0.1.3").await;
        slow.script(|s| {
            s.extensions = Extensions { eight_bit_mime: true, ..Extensions::none() };
        });
        let relay = net.relay().await;
        let mut client = relay.client().await;
        for (what, content) in odd_messages() {
            let to = ["b@bdat.test", "b@data.test", "b@bare.test"];
            let id = client.send_with("a@org.test", " BODY=8BITMIME", &to, "", &content).await;
            relay.wait_for("message.removed", &id, SOON).await;
            for mx in [&chunked, &dotted, &slow] {
                let message = mx.messages().pop().unwrap();
                assert!(message.text().contains(&format!("id {id}")), "{what}");
                // What is above the content is our one trace field.
                let got = &message.data;
                assert!(got.starts_with(b"Received: from client.test "), "{what}: {}", message.text());
                let trace = got.len() - content.len();
                assert!(got[trace..] == content[..], "{what} at {}:\n{}", mx.address(), message.text());
                let field = String::from_utf8_lossy(&got[..trace]).into_owned();
                let lines = field.split_inclusive("\r\n");
                assert!(lines.skip(1).all(|l| l.starts_with('\t')), "{what}: {field:?}");
            }
        }
        assert!(chunked.messages().iter().all(|m| m.chunked));
        assert!(dotted.messages().iter().all(|m| !m.chunked));
        assert_eq!(chunked.messages().len(), odd_messages().len());
        for mx in [&chunked, &dotted, &slow] {
            assert_no_bare_newlines(mx);
        }
    }

    async fn h5_06_bombs_of_fields_lines_and_parts_are_passed_on_unread_or_refused() {
        let net = Net::start().await;
        let mx = net.plain_mx("d.test", "127.0.0.25").await;
        let relay = net.relay().await;
        let fields = "X-A: b\r\n".repeat(50_000) + "\r\nx\r\n";
        let line = |octets: usize| format!("Subject: x\r\n\r\n{}\r\n", "y".repeat(octets));
        let part = |n: usize| format!("Content-Type: multipart/mixed; boundary=\"{n}\"\r\n\r\n--{n}\r\n");
        let parts: String = (0..20_000).map(part).collect();
        for content in [fields, line(60_000), parts] {
            let id = relay.send("a@org.test", &["b@d.test"], content.as_bytes()).await;
            sent(&relay, &id).await;
            assert!(mx.messages().pop().unwrap().data.ends_with(content.as_bytes()), "{}", &content[..40]);
        }
        let mut client = relay.client().await;
        client.command("MAIL FROM:<a@org.test>").await.demand(250);
        client.command("RCPT TO:<b@d.test>").await.demand(250);
        client.command("DATA").await.demand(354);
        client.write(line(4 << 20).as_bytes()).await;
        client.write(b".\r\n").await;
        let refused = client.reply().await.demand(554);
        assert!(refused.text().starts_with("5.6.0 A line is longer"), "{refused:?}");
        client.command("NOOP").await.demand(250);
        // Nothing of it is kept.
        let (_, metrics) = relay.http_get("/metrics").await;
        assert!(metrics.contains("sealpost_in_use{resource=\"inbound-content\"} 0\n"), "{metrics}");
    }

    async fn g4_05_a_relay_listener_mends_nothing() {
        let net = Net::start().await;
        let mx = net.plain_mx("d.test", "127.0.0.25").await;
        let relay = net.relay().await;
        for content in [
            &b"Return-Path: <x@y.test>\r\nBcc: secret@d.test\r\nFrom: a@org.test\r\nFrom: b@org.test\r\n\
                Authentication-Results: relay.test; spf=pass\r\n\r\nx\r\n"[..],
            b"no header at all\r\n",
            b"\r\nan empty header\r\n",
        ] {
            let id = relay.send("a@org.test", &["b@d.test"], content).await;
            sent(&relay, &id).await;
            let message = mx.messages().pop().unwrap();
            let trace = message.data.strip_suffix(content).unwrap_or_else(|| panic!("{}", message.text()));
            let trace = String::from_utf8_lossy(trace).into_owned();
            assert!(trace.starts_with("Received: ") && trace.ends_with("\r\n"), "{trace}");
            assert!(trace.split_inclusive("\r\n").skip(1).all(|l| l.starts_with('\t')), "{trace}");
        }
    }

    async fn g5_04_one_id_in_the_reply_the_trace_and_every_event() {
        let net = Net::start().await;
        let mx = net.plain_mx("d.test", "127.0.0.25").await;
        let relay = net.relay().await;
        let id = relay.send("a@org.test", &["b@d.test", "c@d.test"], MESSAGE).await;
        relay.wait_for("message.removed", &id, SOON).await;
        let message = mx.messages().pop().unwrap();
        assert!(message.text().contains(&format!(" id {id}")), "{}", message.text());
        let of_a_message = |kind: &str| kind.starts_with("message.") || kind.starts_with("delivery.");
        let mut kinds: Vec<String> = Vec::new();
        for event in relay.events() {
            if of_a_message(event.text("event")) {
                assert_eq!(event.text("queue_id"), id, "{event}");
                kinds.push(event.text("event").to_owned());
            }
        }
        let want = ["message.received", "delivery.sent", "delivery.sent", "message.removed"];
        assert_eq!(kinds, want);
    }

    async fn e3_08_h5_02_e4_22_bdat_and_pipelining_split_anywhere_bring_the_same_content() {
        let net = Net::start().await;
        let mx = net.plain_mx("d.test", "127.0.0.25").await;
        mx.script(|s| s.extensions.chunking = false);
        let relay = net.relay().await;
        let content = b"Subject: cuts\r\n\r\n.\r\n..two\r\n\r\n.\r\nMAIL FROM:<x@y.test>\r\nend\r\n";
        // The whole transaction in one flow, cut into segments of every size that matters.
        for (chunk, segment) in [(1, 7), (3, 64), (content.len(), 1), (20, 4096)] {
            let mut flow = b"MAIL FROM:<a@org.test>\r\nRCPT TO:<b@d.test>\r\n".to_vec();
            let chunks: Vec<&[u8]> = content.chunks(chunk).collect();
            for (n, part) in chunks.iter().enumerate() {
                let last = if n + 1 == chunks.len() { " LAST" } else { "" };
                flow.extend_from_slice(format!("BDAT {}{last}\r\n", part.len()).as_bytes());
                flow.extend_from_slice(part);
            }
            let mut client = relay.client().await;
            for piece in flow.chunks(segment) {
                client.write(piece).await;
            }
            for _ in 0..chunks.len() + 1 {
                client.reply().await.demand(250);
            }
            let id = client.reply().await.demand(250).queue_id();
            sent(&relay, &id).await;
            let message = mx.messages().pop().unwrap();
            assert_eq!(message.without_trace(), content, "{chunk}/{segment}");
        }
        assert_no_bare_newlines(&mx);
        // A chunk that ends without a line end gets one, and nothing else (row E3-08).
        let mut client = relay.client().await;
        client.command("MAIL FROM:<a@org.test>").await.demand(250);
        client.command("RCPT TO:<b@d.test>").await.demand(250);
        client.write(b"BDAT 17 LAST\r\nSubject: x\r\n\r\nend").await;
        let id = client.reply().await.demand(250).queue_id();
        sent(&relay, &id).await;
        assert_eq!(mx.messages().pop().unwrap().without_trace(), b"Subject: x\r\n\r\nend\r\n");
    }

    async fn e3_05_e3_06_h5_01_what_is_not_the_end_of_data_ends_nothing() {
        let net = Net::start().await;
        let mx = net.plain_mx("d.test", "127.0.0.25").await;
        let relay = net.relay().await;
        for end in [
            "\n.\n", "\n.\r\n", "\r\n.\n", "\r.\r", "\r\n.\r", "\r\n.\r\r\n", "\r.\r\n", "\n\n.\r\n",
            "\r\n\0.\r\n", "\r\n.\0\r\n",
        ] {
            let mut client = relay.client().await;
            client.command("MAIL FROM:<a@org.test>").await.demand(250);
            client.command("RCPT TO:<b@d.test>").await.demand(250);
            client.command("DATA").await.demand(354);
            let smuggled = format!("Subject: x\r\n\r\none{end}MAIL FROM:<evil@org.test>\r\n\
                RCPT TO:<victim@d.test>\r\nDATA\r\nSubject: two\r\n\r\nsmuggled\r\n.\r\n");
            client.write(smuggled.as_bytes()).await;
            client.write(b"QUIT\r\n").await;
            // One reply to one message, and then the end: whatever stood behind was content.
            let reply = client.reply().await;
            assert!(reply.code == 550 || end == "\r\n.\0\r\n", "{end:?}: {reply:?}");
            if let Some(next) = client.try_reply().await {
                assert_eq!(next.code, 221, "{end:?}: {next:?}");
            }
        }
        let id = relay.send("a@org.test", &["b@d.test"], MESSAGE).await;
        sent(&relay, &id).await;
        let all: Vec<_> = mx.messages().iter().map(|m| m.recipients().join(" ")).collect();
        assert!(!all.iter().any(|to| to.contains("victim")), "{all:?}");
    }

    async fn e2_38_e2_39_e5_11_h3_29_eight_bits_go_only_where_they_are_taken() {
        let net = Net::start().await;
        let org = net.plain_mx("org.test", "127.0.1.9").await;
        net.zone.mx("d.test", 10, "mx1.d.test").a("mx1.d.test", "127.0.1.1");
        net.zone.mx("d.test", 20, "mx2.d.test").a("mx2.d.test", "127.0.1.2");
        let seven = FakeMx::start("127.0.1.1:25", "mx1.d.test", None).await;
        seven.script(|s| s.extensions.eight_bit_mime = false);
        let eight = FakeMx::start("127.0.1.2:25", "mx2.d.test", None).await;
        let only = net.plain_mx("seven.test", "127.0.1.3").await;
        only.script(|s| s.extensions.eight_bit_mime = false);
        let relay = net.relay().await;
        let content = "Subject: x\r\n\r\ngr\u{fc}\u{df}e\r\n".as_bytes();
        let mut client = relay.client().await;
        let id = client.send_with("a@org.test", " BODY=8BITMIME", &["b@d.test"], "", content).await;
        let event = sent(&relay, &id).await;
        assert_eq!(event.text("mx"), "mx2.d.test", "{event}");
        assert_eq!(event.at("/tried/0/reason"), "extension-missing", "{event}");
        let message = eight.messages().pop().unwrap();
        assert!(message.from_params.contains("BODY=8BITMIME"), "{message:?}");
        assert_eq!(message.without_trace(), content);
        let id = client.send_with("a@org.test", " BODY=8BITMIME", &["b@seven.test"], "", content).await;
        let event = bounced(&relay, &id).await;
        assert_eq!((event.text("reason"), event.text("dsn")), ("extension-missing", "5.6.3"), "{event}");
        seven.assert_no_mail();
        only.assert_no_mail();
        let notice = org.wait_for_message(SOON).await;
        assert!(notice.text().contains("Status: 5.6.3") && notice.data.is_ascii(), "{}", notice.text());
    }

    async fn e2_41_e2_42_a1_06_h3_30_utf8_addresses_go_only_where_they_are_taken() {
        let net = Net::start().await;
        let org = net.plain_mx("org.test", "127.0.1.9").await;
        let utf8 = net.mx("xn--bcher-kva.test", "127.0.1.1").await;
        net.enforce("xn--bcher-kva.test");
        let ascii = net.plain_mx("d.test", "127.0.1.2").await;
        ascii.script(|s| s.extensions.smtputf8 = false);
        let relay = net.relay().await;
        let content = "Subject: gr\u{fc}\u{df}e\r\n\r\nx\r\n".as_bytes();
        let mut client = relay.client().await;
        let to = ["j\u{fc}rgen@b\u{fc}cher.test"];
        let id = client.send_with("a@org.test", " BODY=8BITMIME SMTPUTF8", &to, "", content).await;
        let event = sent(&relay, &id).await;
        assert_eq!(event.text("domain"), "xn--bcher-kva.test", "{event}");
        assert_eq!(event.at("/policies/0/result"), "satisfied", "{event}");
        let message = utf8.messages().pop().unwrap();
        assert!(message.from_params.contains("SMTPUTF8"), "{message:?}");
        assert!(message.recipients()[0].starts_with("j\u{fc}rgen@"), "{message:?}");
        assert_eq!(message.without_trace(), content);
        assert_eq!(net.host.count("xn--bcher-kva.test"), 1);
        let to = ["j\u{fc}rgen@d.test"];
        let id = client.send_with("a@org.test", " BODY=8BITMIME SMTPUTF8", &to, "", content).await;
        let event = bounced(&relay, &id).await;
        assert_eq!((event.text("reason"), event.text("dsn")), ("extension-missing", "5.6.7"), "{event}");
        ascii.assert_no_mail();
        assert!(org.wait_for_message(SOON).await.text().contains("Status: 5.6.7"));
        // What is ASCII goes on without the flag that it came with, also to a host without the extension.
        for (to, body) in [
            ("b@d.test", "all of it is ASCII"),
            ("b@b\u{fc}cher.test", "the domain has an ASCII form"),
        ] {
            let message = format!("Subject: x\r\n\r\n{body}\r\n");
            let id = client.send_with("a@org.test", " SMTPUTF8", &[to], "", message.as_bytes()).await;
            sent(&relay, &id).await;
        }
        for mx in [&ascii, &utf8] {
            let message = mx.messages().pop().unwrap();
            assert!(!message.from_params.contains("SMTPUTF8"), "{message:?}");
            assert!(message.data.is_ascii(), "{message:?}");
        }
    }

    async fn e2_34_e2_37_e2_48_a_message_that_is_too_large_for_one_host_goes_to_the_next() {
        let net = Net::start().await;
        let org = net.plain_mx("org.test", "127.0.1.9").await;
        net.zone.mx("d.test", 10, "mx1.d.test").a("mx1.d.test", "127.0.1.1");
        net.zone.mx("d.test", 20, "mx2.d.test").a("mx2.d.test", "127.0.1.2");
        let small = FakeMx::start("127.0.1.1:25", "mx1.d.test", None).await;
        small.script(|s| s.extensions.size = Some(1000));
        let large = FakeMx::start("127.0.1.2:25", "mx2.d.test", None).await;
        let tiny = net.plain_mx("tiny.test", "127.0.1.3").await;
        tiny.script(|s| s.extensions.size = Some(1000));
        let bare = net.plain_mx("bare.test", "127.0.1.4").await;
        bare.script(|s| s.extensions = Extensions::none());
        let relay = net.relay().await;
        let content = [b"Subject: x\r\n\r\n".to_vec(), b"..dots\r\n".repeat(500)].concat();
        let id = relay.send("a@org.test", &["b@d.test"], &content).await;
        assert_eq!(sent(&relay, &id).await.text("mx"), "mx2.d.test");
        let message = large.messages().pop().unwrap();
        // The octets before stuffing, with our trace field.
        let size = format!("SIZE={}", message.data.len());
        assert!(message.from_params.split(' ').any(|p| p == size), "{size}: {}", message.from_params);
        let id = relay.send("a@org.test", &["b@tiny.test"], &content).await;
        let event = bounced(&relay, &id).await;
        assert_eq!((event.text("reason"), event.text("dsn")), ("extension-missing", "5.3.4"), "{event}");
        org.wait_for_message(SOON).await;
        let id = relay.send("a@org.test", &["b@bare.test"], &content).await;
        sent(&relay, &id).await;
        let message = bare.messages().pop().unwrap();
        assert_eq!((message.from_params.as_str(), message.to[0].1.as_str()), ("", ""));
        small.assert_no_mail();
        tiny.assert_no_mail();
    }
}

/// Content that careless software changes. All of it ends with CRLF, as DATA demands.
fn odd_messages() -> Vec<(&'static str, Vec<u8>)> {
    let with = |body: &[u8]| [b"Subject: x\r\n\r\n", body].concat();
    let all_octets: Vec<u8> = (1..=255u8)
        .filter(|b| !matches!(b, b'\r' | b'\n'))
        .collect();
    vec![
        ("an ordinary one", MESSAGE.to_vec()),
        ("dots", with(b".\r\n..\r\n.x\r\n...\r\n\r\n.\r\n")),
        ("an empty body", b"Subject: x\r\n\r\n".to_vec()),
        ("no header", b"\r\njust this\r\n".to_vec()),
        ("no empty line", b"Subject: x\r\nX-Y: z\r\n".to_vec()),
        ("empty lines at the end", with(b"text\r\n\r\n\r\n\r\n")),
        ("trailing blanks", with(b"text  \t\r\n \r\n\t\r\n")),
        (
            "a line of 998 octets",
            with(&[&b"x".repeat(998)[..], b"\r\n"].concat()),
        ),
        (
            "a line of 5000 octets",
            with(&[&b"y".repeat(5000)[..], b"\r\n.\r\n"].concat()),
        ),
        ("64 KiB and more", with(&b"0123456789.\r\n".repeat(6000))),
        (
            "a megabyte",
            with(&b".leading dot and text of some length\r\n".repeat(27_000)),
        ),
        (
            "all octets but NUL",
            with(&[&all_octets[..], b"\r\n"].concat()),
        ),
        (
            "old trace fields",
            [
                &b"Received: from a by b;\r\n\tnonsense\r\nRECEIVED:broken\r\n".repeat(10)[..],
                &b"Return-Path: <x@y.test>\r\nSubject: x\r\n\r\nbody\r\n"[..],
            ]
            .concat(),
        ),
        (
            "dots at block borders",
            with(&{
                let mut body = Vec::new();
                while body.len() < 70_000 {
                    body.extend_from_slice(&b"z".repeat(body.len() % 97));
                    body.extend_from_slice(b"\r\n.\r\n");
                }
                body
            }),
        ),
    ]
}

/// Row E3-04: no CR without LF, no LF without CR, in anything that this peer was told.
fn assert_no_bare_newlines(mx: &FakeMx) {
    for message in mx.messages() {
        let mut before = 0;
        for octet in &message.data {
            assert!((*octet == b'\n') == (before == b'\r'), "{}", message.text());
            before = *octet;
        }
        assert_eq!(before, b'\n');
    }
}
