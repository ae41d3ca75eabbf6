//! What a tunnel can suffer from on its host, in the whole agent with an Engine.

use super::failures::{start_tunnel, until_tunnel_runs};
use super::*;

#[test]
fn a_network_that_is_written_by_its_id_is_joined_by_its_name() {
    paused(async {
        // given
        let (master, dir, engine) =
            (FakeMaster::native(), tempfile::tempdir().unwrap(), FakeEngine::default());
        engine.name_network("0e8a6d4c2b1f", "edge-net");
        let mut settings = Settings::default();
        settings.tunnel.network = "0e8a6d4c2b1f".into();
        let _host = host_set(&settings, engine.clone(), &master, &dir).await;
        // when
        master.queue(start_tunnel("c1", "u1", "t1"));
        until_tunnel_runs(&master, "u1").await;
        // then
        assert_eq!(engine.networks(), ["edge-net"]);
    });
}
