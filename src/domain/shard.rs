//! Which shard of the fleet an agent belongs to: the same in every process, on every machine and in every release.

use super::id::AgentId;

/// Returns the shard of an agent among `shards`.
pub fn shard_of(agent: &AgentId, shards: usize) -> usize {
    // FNV-1a, and a last mixing (of MurmurHash3): its low bits alone differ little between ids that are much alike.
    let mut hash = agent.as_str().bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    for factor in [0xff51_afd7_ed55_8ccd_u64, 0xc4ce_b9fe_1a85_ec53] {
        hash = (hash ^ (hash >> 33)).wrapping_mul(factor);
    }
    hash ^= hash >> 33;
    (hash % shards.max(1) as u64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_has_the_same_shard_in_every_process() {
        let cases = [
            ("", 0, 0),
            ("a", 2, 1),
            ("web-1", 2, 0),
            ("web-1", 16, 4),
            ("web-2", 16, 1),
            ("edba1cec-bae7-4d0c-9f0e-2f6d1c0e7a11", 2, 1),
            ("edba1cec-bae7-4d0c-9f0e-2f6d1c0e7a11", 1_000, 103),
        ];
        let found = cases.map(|(id, shards, _)| (id, shards, shard_of(&AgentId::new(id), shards)));
        assert_eq!(found, cases);
    }

    #[test]
    fn agents_spread_evenly_over_the_shards() {
        let mut of_shard = [0; 8];
        for number in 0..8_000 {
            of_shard[shard_of(&AgentId::new(format!("agent-{number}")), 8)] += 1;
        }
        assert!(of_shard.iter().all(|agents| (800..1_200).contains(agents)), "{of_shard:?}");
    }
}
