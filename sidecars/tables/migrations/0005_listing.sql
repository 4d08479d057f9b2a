-- Batches by what people call them. Their works are consecutive numbers, so that whoever has the batches has the works by
-- primary key: `pool_works`, to which all is written, gets no further index.
CREATE INDEX pool_batches_by_label ON pool_batches (label, first_work_id);
CREATE INDEX pool_batches_by_app ON pool_batches (app, first_work_id);

INSERT INTO pool_schema_versions (version) VALUES (5);
