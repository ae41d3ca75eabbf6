//! Tables, and a small Engine on which steps are carried out with crashes in between.

use proptest::prelude::*;

use super::*;
use crate::domain::id::ContainerId;

fn agent() -> AgentId {
    AgentId::new("me")
}

fn wanted() -> Wanted {
    Wanted {
        token: TokenPrint::of("token-1"),
        image: "cloudflare/cloudflared:1".into(),
        command: COMMAND.map(str::to_owned).to_vec(),
        metrics: "0.0.0.0:20241".into(),
        network: "cloudflare-net".into(),
        options: ConnectorOptions::new(Some("http2"), None, None).unwrap(),
        labels: BTreeMap::from([("org.example".to_owned(), "x".to_owned())]),
        made_for: None,
    }
}

fn made(id: &str, wanted: &Wanted, state: RunState) -> Observed {
    let mut labels = own_labels(&agent(), wanted.made_for.as_ref());
    labels.extend(wanted.labels.clone());
    labels.insert(FORM_LABEL.into(), wanted.options.form());
    Observed {
        id: ContainerId::new(id),
        image: wanted.image.clone(),
        command: wanted.command.clone(),
        token: Some(wanted.token.clone()),
        metrics: Some(wanted.metrics.clone()),
        options: wanted.options.variables().map(|(k, v)| (k.to_owned(), v.to_owned())).collect(),
        network: wanted.network.clone(),
        is_connected: true,
        restart_policy: RESTART_POLICY.into(),
        labels,
        state,
        has_settled: false,
        last_words: None,
    }
}

fn running(wanted: Wanted) -> Desired {
    Desired::Running(Box::new(wanted))
}

fn step_from(main: Option<&Observed>, next: Option<&Observed>) -> NextStep {
    next_step(&agent(), &running(wanted()), main, next)
}

fn step(next: NextStep) -> Step {
    match next {
        NextStep::Do { step, .. } => step,
        other => panic!("no step: {other:?}"),
    }
}

#[test]
fn what_is_missing_or_does_not_run_is_repaired() {
    assert_eq!(step(step_from(None, None)), Step::Create { name: CONTAINER_NAME });
    let id = ContainerId::new("m");
    for (state, expected) in [
        (RunState::Created, Step::Start(id.clone())),
        (RunState::Exited, Step::Start(id.clone())),
        (RunState::Paused, Step::Unpause(id.clone())),
        (RunState::Dead, Step::Remove(id.clone())),
    ] {
        assert_eq!(step(step_from(Some(&made("m", &wanted(), state)), None)), expected, "{state:?}");
    }
    assert_eq!(step_from(Some(&made("m", &wanted(), RunState::Running)), None), NextStep::Nothing);
}

#[test]
fn what_the_engine_is_starting_again_is_left_to_it() {
    let mut main = made("m", &wanted(), RunState::Restarting);
    main.last_words = Some("Provided Tunnel token is not valid.".into());
    let NextStep::Wait { reason } = step_from(Some(&main), None) else { panic!("it must wait") };
    assert!(reason.contains("Provided Tunnel token is not valid."));
}

#[test]
fn every_hand_edit_is_a_drift() {
    type Edit = fn(&mut Observed);
    let edits: [(&str, Edit); 12] = [
        ("token", |c| c.token = Some(TokenPrint::of("other"))),
        ("token", |c| c.token = None),
        ("image", |c| c.image = "other".into()),
        ("command", |c| c.command.push("--x".into())),
        ("network", |c| c.network = "bridge".into()),
        ("network", |c| c.is_connected = false),
        ("options", |c| drop(c.options.insert(PROTOCOL.into(), "quic".into()))),
        ("metrics address", |c| c.metrics = None),
        // Made before connectors reached their host by name, or with options that are not wanted any more.
        ("form", |c| drop(c.labels.remove(FORM_LABEL))),
        ("form", |c| drop(c.labels.insert(FORM_LABEL.into(), "1".into()))),
        ("restart policy", |c| c.restart_policy = "no".into()),
        ("labels", |c| drop(c.labels.remove("org.example"))),
    ];
    for (name, edit) in edits {
        let mut main = made("m", &wanted(), RunState::Running);
        edit(&mut main);
        assert_eq!(drift(&agent(), &wanted(), &main), Some(name));
        assert_eq!(
            step(step_from(Some(&main), None)),
            Step::Create { name: NEXT_NAME },
            "the new one comes first"
        );
        main.state = RunState::Exited;
        assert_eq!(
            step(step_from(Some(&main), None)),
            Step::Remove(main.id.clone()),
            "nothing to keep alive"
        );
    }
}

#[test]
fn a_container_of_a_dockflare_agent_is_taken_over() {
    let mut main = made("m", &wanted(), RunState::Running);
    main.labels.clear();
    main.metrics = None;
    main.restart_policy = "always".into();
    assert_eq!(step_from(Some(&main), None), NextStep::Nothing);
    let with_token = Observed { token: Some(TokenPrint::of("other")), ..main.clone() };
    // What an operator set for the connector, he set for this one too.
    let without_options = Observed { options: BTreeMap::new(), ..main };
    for main in [with_token, without_options] {
        assert_eq!(step(step_from(Some(&main), None)), Step::Create { name: NEXT_NAME });
    }
}

#[test]
fn a_container_of_another_agent_is_never_touched() {
    let mut main = made("m", &wanted(), RunState::Exited);
    main.labels.insert(AGENT_LABEL.into(), "somebody".into());
    let NextStep::Refuse { reason } = step_from(Some(&main), None) else { panic!("it must refuse") };
    assert!(reason.contains("`somebody`"));
    assert_eq!(next_step(&agent(), &Desired::Stopped, Some(&main), None), NextStep::Nothing);
}

#[test]
fn a_stranger_under_the_name_of_the_successor_is_never_touched() {
    let mut main = made("m", &wanted(), RunState::Running);
    main.image = "old".into();
    let mut next = made("n", &wanted(), RunState::Running);
    next.labels.clear();
    assert!(matches!(step_from(Some(&main), Some(&next)), NextStep::Refuse { .. }));
    assert_eq!(step(step_from(None, Some(&next))), Step::Create { name: CONTAINER_NAME });
}

#[test]
fn a_restart_is_fulfilled_by_a_new_container_only_and_only_once() {
    let order = CommandId::new("cmd-7");
    let restart = Wanted { made_for: Some(order.clone()), ..wanted() };
    let old = made("m", &wanted(), RunState::Running);
    assert_eq!(
        step(next_step(&agent(), &running(restart.clone()), Some(&old), None)),
        Step::Create { name: NEXT_NAME }
    );
    let new = made("n", &restart, RunState::Running);
    assert_eq!(next_step(&agent(), &running(restart), Some(&new), None), NextStep::Nothing);
    assert_eq!(step_from(Some(&new), None), NextStep::Nothing, "a later start is content with it");
}

#[test]
fn nothing_is_touched_before_anybody_said_what_is_wanted() {
    let main = made("m", &wanted(), RunState::Exited);
    assert_eq!(next_step(&agent(), &Desired::Unknown, Some(&main), Some(&main)), NextStep::Nothing);
}

#[test]
fn a_print_does_not_show_its_token() {
    assert!(!format!("{:?}", wanted()).contains("token-1"));
}

/// An Engine with nothing but our two names. A name can be taken once only, as in the real one.
struct Engine {
    containers: Vec<(&'static str, Observed)>,
    made: u32,
}

impl Engine {
    fn find(&self, name: &str) -> Option<&Observed> {
        self.containers.iter().find(|(n, _)| *n == name).map(|(_, c)| c)
    }

    fn get(&mut self, id: &ContainerId) -> &mut Observed {
        &mut self.containers.iter_mut().find(|(_, c)| c.id == *id).unwrap().1
    }

    fn runs(&self) -> usize {
        self.containers.iter().filter(|(_, c)| c.state == RunState::Running).count()
    }

    fn look(&self, desired: &Desired) -> NextStep {
        next_step(&agent(), desired, self.find(CONTAINER_NAME), self.find(NEXT_NAME))
    }

    fn carry_out(&mut self, step: &Step, desired: &Desired) {
        match step {
            Step::Create { name } => {
                assert!(self.find(name).is_none(), "the name is taken");
                let Desired::Running(wanted) = desired else { panic!("nothing to make") };
                self.made += 1;
                let new = made(&format!("made-{}", self.made), wanted, RunState::Created);
                self.containers.push((name, new));
            }
            Step::Start(id) | Step::Unpause(id) => self.get(id).state = RunState::Running,
            Step::Stop(id) => self.get(id).state = RunState::Exited,
            Step::Remove(id) => self.containers.retain(|(_, c)| c.id != *id),
            Step::Rename(id) => {
                assert!(self.find(CONTAINER_NAME).is_none(), "the name is taken");
                self.containers.iter_mut().find(|(_, c)| c.id == *id).unwrap().0 = CONTAINER_NAME;
            }
        }
    }

    /// What happens by itself while somebody waits.
    fn time_goes_by(&mut self) {
        for (_, container) in &mut self.containers {
            container.has_settled = true;
            if container.state == RunState::Restarting {
                container.state = RunState::Running;
            }
        }
    }

    /// Carries out one step after another until nothing is left to do, or `steps` are over (a crash). True if done.
    fn run(&mut self, desired: &Desired, steps: usize) -> bool {
        for _ in 0..steps {
            match self.look(desired) {
                NextStep::Nothing => return true,
                NextStep::Do { step, .. } => self.carry_out(&step, desired),
                NextStep::Wait { .. } => self.time_goes_by(),
                NextStep::Refuse { reason } => panic!("{reason}"),
            }
        }
        false
    }
}

fn any_state() -> impl Strategy<Value = RunState> {
    proptest::sample::select(vec![
        RunState::Created,
        RunState::Running,
        RunState::Paused,
        RunState::Restarting,
        RunState::Exited,
        RunState::Dead,
    ])
}

fn any_wanted() -> impl Strategy<Value = Wanted> {
    ("[ab]", "[ab]", proptest::option::of("[ab]")).prop_map(|(token, image, order)| Wanted {
        token: TokenPrint::of(&token),
        image,
        made_for: order.map(CommandId::new),
        ..wanted()
    })
}

fn any_container() -> impl Strategy<Value = Option<Observed>> {
    proptest::option::of(
        (any_wanted(), any_state(), "[0-9]{8}").prop_map(|(w, state, id)| made(&id, &w, state)),
    )
}

proptest! {
    #[test]
    fn crashes_at_any_step_still_end_in_exactly_one_container(
        main in any_container(),
        unlabelled in any::<bool>(),
        next in any_container(),
        tries in proptest::collection::vec((any_wanted(), 0_usize..8), 0..6),
        last in any_wanted(),
    ) {
        // Given any two containers under our names,
        let mut main = main;
        if let Some(found) = main.as_mut().filter(|_| unlabelled) {
            found.labels.clear();
        }
        let served = main.as_ref().is_some_and(|c| c.state == RunState::Running);
        let main = main.map(|c| (CONTAINER_NAME, c));
        let next = next.map(|c| (NEXT_NAME, Observed { id: ContainerId::new("n"), ..c }));
        let mut engine = Engine { containers: main.into_iter().chain(next).collect(), made: 0 };
        // when attempts, each for something else, are cut off at any step,
        let crashes = tries.into_iter().map(|(wanted, steps)| (wanted, steps, false));
        for (wanted, steps, must_end) in crashes.chain([(last.clone(), 60, true)]) {
            let desired = running(wanted);
            for _ in 0..steps {
                let done = engine.run(&desired, 1);
                prop_assert!(!served || engine.runs() > 0, "the door was cut");
                prop_assert!(engine.containers.len() <= 2);
                if done { break }
            }
            // then the last one ends,
            prop_assert!(!must_end || engine.run(&desired, 1));
        }
        // with exactly one container, which is the wanted one and runs.
        prop_assert_eq!(engine.containers.len(), 1);
        let (name, found) = &engine.containers[0];
        prop_assert_eq!((*name, found.state), (CONTAINER_NAME, RunState::Running));
        prop_assert_eq!(drift(&agent(), &last, found), None);
        // And stopping removes it.
        prop_assert!(engine.run(&Desired::Stopped, 10) && engine.containers.is_empty());
    }
}
