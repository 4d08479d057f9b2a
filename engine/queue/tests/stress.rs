//! Every structure between real threads, with checksums: see `scenarios`.

mod scenarios;

#[test]
fn single_items_pass_a_ring_in_order() {
    scenarios::single_items_through_a_ring(300_000);
}

#[test]
fn batches_pass_a_ring_in_order() {
    scenarios::batches_through_a_ring(2_000_000);
}

#[test]
fn a_producer_sees_that_the_consumer_left() {
    scenarios::a_ring_whose_consumer_leaves(200);
}

#[test]
fn a_sleeping_consumer_gets_everything_from_many_producers() {
    scenarios::many_producers_and_a_sleeper(200_000);
}

#[test]
fn a_journal_gets_every_record_in_order() {
    scenarios::a_core_and_its_journal(300_000);
}

#[test]
fn readers_see_whole_values_and_no_older_ones() {
    scenarios::a_writer_and_its_readers(200_000);
}
