use super::*;

const OLD: &str = "aaaaaaaaaaaabbbbbbbbbbbbccccccccccccddddddddddddeeeeeeeeeeeeffff";
const VPN: &str = "111111111111222222222222333333333333444444444444555555555555ffff";

fn container() -> Value {
    json!({
        "Id": OLD, "Name": "/app", "Image": "sha256:old",
        "Config": {
            "Hostname": "aaaaaaaaaaaa", "Domainname": "", "User": "", "Tty": false, "StopTimeout": 30,
            "Env": ["PATH=/bin", "IMG_VER=1.0", "OWN=secret"], "Cmd": ["serve"], "Entrypoint": null,
            "Image": "reg/app:1", "WorkingDir": "/srv", "OnBuild": null,
            "Labels": { "org.opencontainers.image.version": "1.0", "com.docker.compose.service": "app" },
            "ExposedPorts": { "80/tcp": {}, "81/tcp": {} }, "Volumes": { "/data": {} }
        },
        "HostConfig": {
            "NetworkMode": "edge", "Binds": ["named:/conf:ro"], "ConsoleSize": [0, 0], "Links": null,
            "RestartPolicy": { "Name": "no" }, "Memory": 1024, "PortBindings": { "80/tcp": [{ "HostPort": "80" }] }
        },
        "Mounts": [
            { "Type": "volume", "Name": "named", "Destination": "/conf", "RW": false },
            { "Type": "volume", "Name": "f00d", "Destination": "/data", "RW": true },
            { "Type": "bind", "Source": "/x", "Destination": "/x", "RW": true }
        ],
        "NetworkSettings": { "Networks": {
            "back": { "Aliases": ["aaaaaaaaaaaa", "api"], "NetworkID": "n2", "IPAddress": "172.19.0.2",
                "MacAddress": "02:42:ac:13:00:02" },
            "edge": { "Aliases": ["app", "aaaaaaaaaaaa"], "NetworkID": "n1", "IPAddress": "172.18.0.9",
                "IPAMConfig": { "IPv4Address": "172.18.0.9" }, "MacAddress": "02:42:ac:12:00:09",
                "DriverOpts": null, "Links": null, "EndpointID": "e", "Gateway": "172.18.0.1" }
        } }
    })
}

fn image() -> Value {
    json!({ "Config": {
        "Env": ["PATH=/bin", "IMG_VER=1.0"], "Cmd": ["serve"], "WorkingDir": "/srv",
        "Labels": { "org.opencontainers.image.version": "1.0" },
        "ExposedPorts": { "80/tcp": {} }, "Volumes": { "/data": {} },
        "Healthcheck": { "Test": ["CMD", "old"], "Interval": 1, "Retries": 3 }
    } })
}

fn made(container: &Value, image: &Value) -> Anew {
    let replaced = [(VPN.to_owned(), "new-vpn".to_owned())].into();
    let names = [(VPN.to_owned(), "vpn".to_owned())].into();
    let providers = [("db".to_owned(), "db".to_owned()), (VPN.to_owned(), "vpn".to_owned())].into();
    let restart_policy = json!({ "Name": "always" });
    anew(
        container,
        image,
        &Instead {
            image: "reg/app:1",
            restart_policy: &restart_policy,
            replaced: &replaced,
            names: &names,
            providers: &providers,
            also_called: None,
        },
    )
}

#[test]
fn what_the_image_said_goes_and_what_was_said_of_the_container_stays() {
    let made = made(&container(), &image());
    assert_eq!(
        made.create,
        json!({
            "Tty": false, "StopTimeout": 30, "Env": ["OWN=secret"],
            "Labels": { "com.docker.compose.service": "app" }, "ExposedPorts": { "81/tcp": {} },
            "Image": "reg/app:1",
            "HostConfig": {
                "NetworkMode": "edge", "Binds": ["named:/conf:ro", "f00d:/data"],
                "RestartPolicy": { "Name": "always" }, "Memory": 1024,
                "PortBindings": { "80/tcp": [{ "HostPort": "80" }] }
            },
            "NetworkingConfig": { "EndpointsConfig": { "edge": {
                "IPAMConfig": { "IPv4Address": "172.18.0.9" }, "Aliases": ["app"] } } }
        })
    );
    assert_eq!(made.networks, [("back".to_owned(), json!({ "Aliases": ["api"] }))]);
}

/// Changes a container and its image, and says where what in the request is.
type Case = (&'static str, fn(&mut Value, &mut Value), &'static str, Value);

#[test]
fn every_option_follows_its_own_rule() {
    let cases: Vec<Case> = vec![
        ("own command", |c, _| c["Config"]["Cmd"] = json!(["other"]), "/Cmd", json!(["other"])),
        (
            "own entry point keeps the command, though the image has the same",
            |c, _| c["Config"]["Entrypoint"] = json!(["wrap"]),
            "/Cmd",
            json!(["serve"]),
        ),
        ("own user", |c, _| c["Config"]["User"] = "1000".into(), "/User", "1000".into()),
        (
            "environment of another value",
            |c, _| c["Config"]["Env"] = json!(["IMG_VER=9"]),
            "/Env",
            json!(["IMG_VER=9"]),
        ),
        ("name given by hand", |c, _| c["Config"]["Hostname"] = "web".into(), "/Hostname", "web".into()),
        (
            "no name in a network of another",
            |c, _| {
                c["Config"]["Hostname"] = "web".into();
                c["HostConfig"]["NetworkMode"] = format!("container:{VPN}").into();
            },
            "/Hostname",
            Value::Null,
        ),
        (
            "health check of the image",
            |c, i| c["Config"]["Healthcheck"] = i["Config"]["Healthcheck"].clone(),
            "/Healthcheck",
            Value::Null,
        ),
        (
            "health check of which one field was said",
            |c, _| {
                c["Config"]["Healthcheck"] =
                    json!({ "Test": ["CMD", "old"], "Interval": 5, "Retries": 3, "Timeout": 0 })
            },
            "/Healthcheck",
            json!({ "Interval": 5 }),
        ),
        (
            "health check switched off",
            |c, _| c["Config"]["Healthcheck"] = json!({ "Test": ["NONE"] }),
            "/Healthcheck",
            json!({ "Test": ["NONE"] }),
        ),
        (
            "network of another by its old id",
            |c, _| c["HostConfig"]["NetworkMode"] = format!("container:{VPN}").into(),
            "/HostConfig/NetworkMode",
            "container:new-vpn".into(),
        ),
        (
            "processes of another by its name",
            |c, _| c["HostConfig"]["PidMode"] = "container:vpn".into(),
            "/HostConfig/PidMode",
            "container:new-vpn".into(),
        ),
        (
            "network of one that stays",
            |c, _| c["HostConfig"]["NetworkMode"] = "container:0123".into(),
            "/HostConfig/NetworkMode",
            "container:0123".into(),
        ),
        (
            "no endpoint in a network of another",
            |c, _| c["HostConfig"]["NetworkMode"] = "container:0123".into(),
            "/NetworkingConfig",
            Value::Null,
        ),
        (
            "volumes of another by its name, whose id is not for ever",
            |c, _| c["HostConfig"]["VolumesFrom"] = json!(["db", format!("{VPN}:ro")]),
            "/HostConfig/VolumesFrom",
            json!(["db", "vpn:ro"]),
        ),
        (
            "no volumes of another that is gone",
            |c, _| c["HostConfig"]["VolumesFrom"] = json!(["0123", "db"]),
            "/HostConfig/VolumesFrom",
            json!(["db"]),
        ),
        (
            "what came by way of one that is gone is bound",
            |c, _| {
                c["HostConfig"]["VolumesFrom"] = json!(["0123:ro"]);
                c["Mounts"][2]["RW"] = false.into();
            },
            "/HostConfig/Binds",
            json!(["named:/conf:ro", "f00d:/data", "/x:/x:ro"]),
        ),
        (
            "an entry point that was reset, as the Engine says it",
            |_, i| i["Config"]["Entrypoint"] = json!(["wrap"]),
            "/Entrypoint",
            json!([""]),
        ),
        (
            "an entry point that was reset, as Compose asks for it",
            |c, i| {
                c["Config"]["Entrypoint"] = json!([]);
                i["Config"]["Entrypoint"] = json!(["wrap"]);
            },
            "/Entrypoint",
            json!([""]),
        ),
        (
            "a reset entry point keeps the command",
            |_, i| i["Config"]["Entrypoint"] = json!(["wrap"]),
            "/Cmd",
            json!(["serve"]),
        ),
        ("no entry point at all", |c, _| c["Config"]["Entrypoint"] = json!([]), "/Entrypoint", Value::Null),
        (
            "labels of Compose that an image built by it has too",
            |c, i| {
                c["Config"]["Labels"]["com.docker.compose.project"] = "shop".into();
                i["Config"]["Labels"]["com.docker.compose.project"] = "shop".into();
            },
            "/Labels",
            json!({ "com.docker.compose.service": "app", "com.docker.compose.project": "shop" }),
        ),
        (
            "links are written as they are asked for",
            |c, _| c["HostConfig"]["Links"] = json!(["/vpn-lightship-old:/app/v", "/db:/app/data"]),
            "/HostConfig/Links",
            json!(["vpn:v", "db:data"]),
        ),
        (
            "a mount without a source gets its volume by name",
            |c, _| {
                c["HostConfig"]["Mounts"] = json!([{ "Type": "volume", "Target": "/data" }]);
            },
            "/HostConfig/Mounts",
            json!([{ "Type": "volume", "Target": "/data", "Source": "f00d" }]),
        ),
        (
            "a hardware address set by hand",
            |c, _| c["NetworkSettings"]["Networks"]["edge"]["MacAddress"] = "02:00:00:00:00:07".into(),
            "/NetworkingConfig/EndpointsConfig/edge/MacAddress",
            "02:00:00:00:00:07".into(),
        ),
        (
            "the bridge has no aliases",
            |c, _| {
                c["HostConfig"]["NetworkMode"] = "default".into();
                c["NetworkSettings"]["Networks"] = json!({ "bridge": { "Aliases": ["x"] } });
            },
            "/NetworkingConfig",
            Value::Null,
        ),
        (
            "a network that was named by its id",
            |c, _| c["HostConfig"]["NetworkMode"] = "n2".into(),
            "/HostConfig/NetworkMode",
            "back".into(),
        ),
    ];
    for (what, change, at, expected) in cases {
        let (mut container, mut image) = (container(), image());
        change(&mut container, &mut image);
        let made = made(&container, &image);
        assert_eq!(made.create.pointer(at).unwrap_or(&Value::Null), &expected, "{what}");
    }
}

#[test]
fn one_that_serves_beside_the_old_one_goes_by_its_name_on_every_network_that_knows_names() {
    let mut container = container();
    container["NetworkSettings"]["Networks"]["bridge"] = json!({ "NetworkID": "n0" });
    let nothing = BTreeMap::new();
    let instead = Instead {
        image: "reg/app:1",
        restart_policy: &Value::Null,
        replaced: &nothing,
        names: &nothing,
        providers: &nothing,
        also_called: Some("app"),
    };

    let made = anew(&container, &image(), &instead);

    let edge = &made.create["NetworkingConfig"]["EndpointsConfig"]["edge"];
    assert_eq!(edge["Aliases"], json!(["app"]), "it is there once");
    let others: BTreeMap<_, _> = made.networks.iter().map(|(name, end)| (name.as_str(), end)).collect();
    assert_eq!(others["back"]["Aliases"], json!(["api", "app"]));
    assert_eq!(others["bridge"], &json!({}));
}

#[test]
fn who_was_taken_out_of_all_networks_is_to_be_in_none() {
    let isolated = |mode: &str, networks: Value| {
        let mut container = container();
        container["HostConfig"]["NetworkMode"] = mode.into();
        container["NetworkSettings"]["Networks"] = networks;
        made(&container, &image()).is_isolated
    };
    assert!(isolated("edge", json!({})) && isolated("default", json!({})));
    assert!(!isolated("edge", json!({ "edge": {} })), "it is in one");
    assert!(!isolated("host", json!({})) && !isolated("none", json!({})), "it has none of its own");
    assert!(!isolated(&format!("container:{VPN}"), json!({})), "it lives in another one's");
    assert!(!isolated("edge", Value::Null), "the Engine does not say");
}
