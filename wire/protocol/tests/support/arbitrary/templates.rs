//! What works ask for, and what workers offer.

use super::enrolment::address;
use super::*;

pub(super) fn amounts() -> impl Strategy<Value = Vec<(String, u64)>> {
    vec((text(), any::<u64>()), 0..3)
}

prop_compose! {
    /// An offer that a join may carry.
    pub(crate) fn offer()(
        executors in texts(), os in text(), arch in text(), tags in texts(), groups in texts(),
        custom in amounts(),
        (cores, gpus, memory, disk) in any::<(u32, u32, u64, u64)>(),
        slots in 1..4_096_u32, prefill in 0..4_096_u32,
        packing in select(vec![Packing::Slots, Packing::Resources]),
    ) -> Offer {
        let (memory, disk) = (Bytes(memory), Bytes(disk));
        Offer { executors, os, arch, cores, memory, disk, gpus, tags, groups, custom, slots, prefill, packing }
    }
}

prop_compose! {
    /// Any requirements.
    pub(crate) fn requirements()(
        os in option::of(text()), arch in option::of(text()), group in option::of(text()),
        tags in texts(), custom in amounts(),
        (cores, gpus, memory, disk) in any::<(u32, u32, u64, u64)>(), wallet in option::of(address()),
    ) -> Requirements {
        let (memory, disk) = (Bytes(memory), Bytes(disk));
        Requirements { os, arch, cores, memory, disk, gpus, tags, group, custom, wallet }
    }
}

pub(super) fn input() -> impl Strategy<Value = Input> {
    prop_oneof![
        Just(Input::None),
        Just(Input::Row),
        blob().prop_map(|it| Input::Inline(it.0)),
        text().prop_map(Input::File),
    ]
}

prop_compose! {
    pub(super) fn input_file()(path in text(), source in text(), unpack in any::<bool>()) -> InputFile {
        InputFile { path, source, unpack }
    }
}

prop_compose! {
    pub(super) fn outputs()(collect in texts(), consensus in option::of(text())) -> Outputs {
        Outputs { collect, consensus }
    }
}

prop_compose! {
    pub(super) fn template()(
        app in text(), command in texts(), env in vec((text(), text()), 0..3), input in input(),
        files in vec(input_file(), 0..3), outputs in outputs(),
        columns in texts(), requirements in requirements(), label in text(),
        (priority, attempts_max, processes) in any::<(u8, u16, u32)>(),
        (wall_clock, output, memory, disk, archive) in any::<(u64, u64, u64, u64, u64)>(),
        (backoff_min, backoff_max) in any::<(u64, u64)>(),
        time_to_live in option::of(any::<u64>()), category in option::of(text()), ticket in vec(any::<u8>(), 0..9),
    ) -> WorkTemplate {
        WorkTemplate {
            app, command, env, input, files, outputs, columns, requirements, label,
            priority: Priority(priority),
            limits: Limits {
                wall_clock: Millis(wall_clock), output: Bytes(output), memory: Bytes(memory), processes,
                disk: Bytes(disk), files: Bytes(archive),
            },
            retry: Retry {
                attempts_max, backoff_min: Millis(backoff_min), backoff_max: Millis(backoff_max),
            },
            time_to_live: time_to_live.map(Millis),
            category,
            ticket,
        }
    }
}
