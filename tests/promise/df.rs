//! What the store takes up on disk.

use crate::support::Sandbox;

#[test]
fn system_df_tells_what_is_in_use_and_what_could_be_had_back() {
    let sandbox = Sandbox::new("df");
    let summary = || {
        let format = "{{.Type}}:{{.TotalCount}}:{{.Active}}:{{.Size}}:{{.Reclaimable}}";
        sandbox.engine(&["system", "df", "--format", format]).ok().to_owned()
    };
    assert_eq!(
        summary(),
        "Images:0:0:0B:0B\nContainers:0:0:0B:0B\nLocal Volumes:0:0:0B:0B\nBuild Cache:0:0:0B:0B"
    );
    sandbox.busybox();
    let row = |kind: &str| {
        let text = summary();
        let row = text.lines().find_map(|line| line.strip_prefix(&format!("{kind}:")));
        row.expect(kind).to_owned()
    };
    assert!(row("Images").starts_with("1:0:") && row("Images").ends_with("(100%)"), "{}", summary());
    let write = "dd if=/dev/zero of=/own bs=1000 count=100; dd if=/dev/zero of=/data/kept bs=1000 count=50";
    let run = ["run", "--name", "done", "-v", "kept:/data", "busybox", "sh", "-c", write];
    sandbox.engine(&run).ok();
    sandbox.engine(&["run", "-d", "--name", "on", "busybox", "sleep", "1000"]).ok();
    sandbox.engine(&["volume", "create", "spare"]).ok();
    assert!(row("Images").starts_with("1:1:") && row("Images").ends_with("0B (0%)"), "{}", summary());
    assert!(row("Containers").starts_with("2:1:") && row("Containers").ends_with("%)"), "{}", summary());
    assert!(row("Local Volumes").starts_with("2:1:"), "{}", summary());

    let table = sandbox.engine(&["system", "df"]).ok().to_owned();
    for word in ["TYPE", "TOTAL", "ACTIVE", "SIZE", "RECLAIMABLE", "Build Cache"] {
        assert!(table.contains(word), "{table}");
    }
    let json = sandbox.engine(&["system", "df", "--format", "json"]).ok().to_owned();
    assert_eq!(json.lines().count(), 4, "{json}");
    assert!(json.contains("\"TotalCount\":\"2\""), "{json}");
}

#[test]
fn system_df_v_tells_it_of_every_object() {
    let sandbox = Sandbox::new("df-v");
    sandbox.busybox();
    sandbox.engine(&["run", "--name", "done", "-v", "kept:/data", "busybox", "true"]).ok();
    let text = sandbox.engine(&["system", "df", "-v"]).ok().to_owned();
    for word in [
        "Images space usage:",
        "SHARED SIZE",
        "UNIQUE SIZE",
        "Containers space usage:",
        "LOCAL VOLUMES",
        "Local Volumes space usage:",
        "VOLUME NAME",
        "LINKS",
        "Build cache usage: 0B",
        "CACHE ID",
    ] {
        assert!(text.contains(word), "{word}: {text}");
    }
    assert!(text.lines().any(|line| line.starts_with("busybox ")), "{text}");
    assert!(text.lines().any(|line| line.contains("done") && !line.contains("virtual")), "{text}");
    let kept = text.lines().find(|line| line.starts_with("kept ")).expect("the volume");
    assert_eq!(kept.split_whitespace().nth(1), Some("1"), "{kept}");
    let names = "{{range .Volumes}}{{.Name}}{{end}}";
    assert_eq!(sandbox.engine(&["system", "df", "-v", "--format", names]).ok(), "kept");
    sandbox.engine(&["system", "df", "extra"]).fails(1, ["df"]);
}
