BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0002');
CREATE TABLE analysis_run (
	id INTEGER NOT NULL, 
	study_id INTEGER, 
	rules JSON NOT NULL, 
	seed BIGINT NOT NULL, 
	code_version VARCHAR(64) NOT NULL, 
	last_judgement_id BIGINT NOT NULL, 
	result JSON NOT NULL, 
	created_at DATETIME NOT NULL, 
	CONSTRAINT pk_analysis_run PRIMARY KEY (id), 
	CONSTRAINT fk_analysis_run_study_id_study FOREIGN KEY(study_id) REFERENCES study (id)
);
CREATE TABLE assignment (
	id INTEGER NOT NULL, 
	item_id INTEGER NOT NULL, 
	rater_id INTEGER NOT NULL, 
	state VARCHAR(16) NOT NULL, 
	swapped BOOLEAN NOT NULL, 
	lease_token VARCHAR(48) NOT NULL, 
	leased_at DATETIME NOT NULL, 
	expires_at DATETIME NOT NULL, 
	finished_at DATETIME, 
	skip_reason VARCHAR(32), 
	flag VARCHAR(32), 
	flag_comment TEXT, 
	CONSTRAINT pk_assignment PRIMARY KEY (id), 
	CONSTRAINT ck_assignment_skipped CHECK ((state = 'skipped') = (skip_reason is not null)), 
	CONSTRAINT ck_assignment_finished CHECK ((state in ('done', 'skipped')) = (finished_at is not null)), 
	CONSTRAINT ck_assignment_state CHECK (state in ('leased', 'done', 'skipped', 'expired')), 
	CONSTRAINT ck_assignment_flag CHECK (flag_comment is null or flag is not null), 
	CONSTRAINT fk_assignment_item_id_item FOREIGN KEY(item_id) REFERENCES item (id), 
	CONSTRAINT fk_assignment_rater_id_rater FOREIGN KEY(rater_id) REFERENCES rater (id), 
	CONSTRAINT uq_assignment_item_id_rater_id UNIQUE (item_id, rater_id), 
	CONSTRAINT uq_assignment_lease_token UNIQUE (lease_token)
);
INSERT INTO "assignment" VALUES(1,1,1,'done',1,'lease-1','2026-03-04 05:06:07.891000','2026-03-04 05:06:07.891000','2026-03-04 05:06:07.891000',NULL,NULL,NULL);
CREATE TABLE audit_event (
	id INTEGER NOT NULL, 
	at DATETIME NOT NULL, 
	actor VARCHAR(64) NOT NULL, 
	action VARCHAR(64) NOT NULL, 
	object VARCHAR(255) NOT NULL, 
	detail JSON NOT NULL, 
	CONSTRAINT pk_audit_event PRIMARY KEY (id)
);
CREATE TABLE context (
	id INTEGER NOT NULL, 
	sha256 VARCHAR(64) NOT NULL, 
	messages JSON NOT NULL, 
	created_at DATETIME NOT NULL, source VARCHAR(255), split VARCHAR(16), 
	CONSTRAINT pk_context PRIMARY KEY (id), 
	CONSTRAINT uq_context_sha256 UNIQUE (sha256)
);
INSERT INTO "context" VALUES(1,'0000000000000000000000000000000000000000000000000000000000000001','[{"role": "user", "content": "hello"}]','2026-03-04 05:06:07.891000',NULL,NULL);
INSERT INTO "context" VALUES(2,'0000000000000000000000000000000000000000000000000000000000000002','[{"role": "user", "content": "\u4f60\u597d \\ \"quoted\" ''single''"}]','2026-03-04 05:06:07.891000',NULL,NULL);
INSERT INTO "context" VALUES(3,'0000000000000000000000000000000000000000000000000000000000000003','[{"role": "user", "content": "two\nlines \ud83d\ude42"}]','2026-03-04 05:06:07.891000',NULL,NULL);
CREATE TABLE conversation (
	id VARCHAR(48) NOT NULL, 
	created_at DATETIME NOT NULL, 
	CONSTRAINT pk_conversation PRIMARY KEY (id)
);
INSERT INTO "conversation" VALUES('talk-1','2026-03-04 05:06:07.891000');
CREATE TABLE dimension (
	id INTEGER NOT NULL, 
	study_id INTEGER NOT NULL, 
	position INTEGER NOT NULL, 
	name VARCHAR(64) NOT NULL, 
	anchors JSON NOT NULL, 
	CONSTRAINT pk_dimension PRIMARY KEY (id), 
	CONSTRAINT fk_dimension_study_id_study FOREIGN KEY(study_id) REFERENCES study (id), 
	CONSTRAINT uq_dimension_study_id_name UNIQUE (study_id, name)
);
CREATE TABLE exclusion (
	id INTEGER NOT NULL, 
	study_id INTEGER NOT NULL, 
	rater_id INTEGER NOT NULL, 
	analysis_run_id INTEGER NOT NULL, 
	rule VARCHAR(32) NOT NULL, 
	detail JSON NOT NULL, 
	created_at DATETIME NOT NULL, 
	CONSTRAINT pk_exclusion PRIMARY KEY (id), 
	CONSTRAINT fk_exclusion_analysis_run_id_analysis_run FOREIGN KEY(analysis_run_id) REFERENCES analysis_run (id), 
	CONSTRAINT fk_exclusion_rater_id_rater FOREIGN KEY(rater_id) REFERENCES rater (id), 
	CONSTRAINT fk_exclusion_study_id_study FOREIGN KEY(study_id) REFERENCES study (id)
);
CREATE TABLE idempotency_record (
	route VARCHAR(64) NOT NULL, 
	"key" VARCHAR(255) NOT NULL, 
	request_sha256 VARCHAR(64) NOT NULL, 
	answer JSON, 
	created_at DATETIME NOT NULL, 
	CONSTRAINT pk_idempotency_record PRIMARY KEY (route, "key")
);
INSERT INTO "idempotency_record" VALUES('ratings','k-1','cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc','{"id": 2}','2026-03-04 05:06:07.891000');
CREATE TABLE invitation (
	id INTEGER NOT NULL, 
	study_id INTEGER NOT NULL, 
	token_sha256 VARCHAR(64) NOT NULL, 
	label VARCHAR(255) NOT NULL, 
	max_raters INTEGER NOT NULL, 
	expires_at DATETIME, 
	revoked_at DATETIME, 
	created_at DATETIME NOT NULL, 
	CONSTRAINT pk_invitation PRIMARY KEY (id), 
	CONSTRAINT ck_invitation_max_raters CHECK (max_raters >= 1), 
	CONSTRAINT fk_invitation_study_id_study FOREIGN KEY(study_id) REFERENCES study (id), 
	CONSTRAINT uq_invitation_token_sha256 UNIQUE (token_sha256)
);
CREATE TABLE item (
	id INTEGER NOT NULL, 
	study_id INTEGER NOT NULL, 
	position INTEGER NOT NULL, 
	kind VARCHAR(16) NOT NULL, 
	purpose VARCHAR(16) NOT NULL, 
	context_id INTEGER NOT NULL, 
	response_a_id VARCHAR(48) NOT NULL, 
	response_b_id VARCHAR(48), 
	gold JSON, 
	repeats_item_id INTEGER, 
	target INTEGER, 
	done INTEGER NOT NULL, 
	status VARCHAR(16) NOT NULL, 
	CONSTRAINT pk_item PRIMARY KEY (id), 
	CONSTRAINT ck_item_pair CHECK ((kind = 'pair') = (response_b_id is not null)), 
	CONSTRAINT ck_item_gold CHECK ((purpose = 'gold') = (gold is not null)), 
	CONSTRAINT ck_item_target CHECK ((purpose = 'gold') = (target is null)), 
	CONSTRAINT ck_item_repeat CHECK ((purpose = 'repeat') = (repeats_item_id is not null)), 
	CONSTRAINT ck_item_kind CHECK (kind in ('scale', 'pair', 'turing')), 
	CONSTRAINT ck_item_purpose CHECK (purpose in ('normal', 'gold', 'aa', 'repeat')), 
	CONSTRAINT ck_item_status CHECK (status in ('open', 'done', 'withdrawn')), 
	CONSTRAINT ck_item_done CHECK (done >= 0 and (target is null or (target >= 1 and done <= target))), 
	CONSTRAINT ck_item_two_replies CHECK (response_b_id is null or response_a_id <> response_b_id), 
	CONSTRAINT fk_item_context_id_context FOREIGN KEY(context_id) REFERENCES context (id), 
	CONSTRAINT fk_item_repeats_item_id_item FOREIGN KEY(repeats_item_id) REFERENCES item (id), 
	CONSTRAINT fk_item_response_a_id_response FOREIGN KEY(response_a_id) REFERENCES response (id), 
	CONSTRAINT fk_item_response_b_id_response FOREIGN KEY(response_b_id) REFERENCES response (id), 
	CONSTRAINT fk_item_study_id_study FOREIGN KEY(study_id) REFERENCES study (id), 
	CONSTRAINT uq_item_study_id_position UNIQUE (study_id, position)
);
INSERT INTO "item" VALUES(1,1,0,'pair','normal',1,'reply-00000000000000000000000000000003','reply-00000000000000000000000000000006',NULL,NULL,2,1,'open');
CREATE TABLE "judgement" (
	id INTEGER NOT NULL, 
	response_id VARCHAR(48), 
	kind VARCHAR(16) NOT NULL, 
	value INTEGER, 
	comment TEXT, 
	supersedes INTEGER, 
	created_at DATETIME NOT NULL, 
	assignment_id INTEGER, 
	rater_id INTEGER, 
	dimension VARCHAR(64) NOT NULL, 
	choice VARCHAR(16), 
	side VARCHAR(8), 
	blind BOOLEAN NOT NULL, 
	dwell_ms INTEGER, 
	reasons JSON, 
	CONSTRAINT pk_judgement PRIMARY KEY (id), 
	CONSTRAINT fk_judgement_response_id_response FOREIGN KEY(response_id) REFERENCES response (id), 
	CONSTRAINT uq_judgement_supersedes UNIQUE (supersedes), 
	CONSTRAINT ck_judgement_side CHECK (side is null or (kind = 'pair' and side in ('left', 'right'))), 
	CONSTRAINT fk_judgement_assignment_id_assignment FOREIGN KEY(assignment_id) REFERENCES assignment (id), 
	CONSTRAINT fk_judgement_supersedes_judgement FOREIGN KEY(supersedes) REFERENCES judgement (id), 
	CONSTRAINT fk_judgement_rater_id_rater FOREIGN KEY(rater_id) REFERENCES rater (id), 
	CONSTRAINT ck_judgement_about_one_thing CHECK ((response_id is null) <> (assignment_id is null)), 
	CONSTRAINT ck_judgement_dwell CHECK (dwell_ms is null or dwell_ms >= 0), 
	CONSTRAINT ck_judgement_rater CHECK (assignment_id is null or rater_id is not null), 
	CONSTRAINT ck_judgement_value_by_kind CHECK ((kind = 'thumb' and response_id is not null and dimension = '' and choice is null and value is not null and value in (-1, 1)) or (kind = 'scale' and dimension <> '' and choice is null and value is not null and value between 1 and 5) or (kind = 'pair' and assignment_id is not null and dimension = '' and value is null and choice is not null and choice in ('a', 'b', 'tie', 'both_bad') and side is not null) or (kind = 'turing' and assignment_id is not null and dimension = '' and value is null and choice is not null and choice in ('human', 'machine')))
);
INSERT INTO "judgement" VALUES(1,'reply-00000000000000000000000000000001','thumb',-1,'太短了 🙂',NULL,'2026-03-04 05:06:07.891000',NULL,NULL,'',NULL,NULL,0,NULL,NULL);
INSERT INTO "judgement" VALUES(2,'reply-00000000000000000000000000000001','thumb',1,NULL,1,'2026-03-04 05:06:07.891000',NULL,NULL,'',NULL,NULL,0,NULL,'["fluent"]');
INSERT INTO "judgement" VALUES(3,NULL,'pair',NULL,NULL,NULL,'2026-03-04 05:06:07.891000',1,1,'','a','right',1,4321,NULL);
CREATE TABLE quality_event (
	id INTEGER NOT NULL, 
	study_id INTEGER NOT NULL, 
	rater_id INTEGER NOT NULL, 
	kind VARCHAR(32) NOT NULL, 
	outcome VARCHAR(16) NOT NULL, 
	detail JSON NOT NULL, 
	created_at DATETIME NOT NULL, 
	CONSTRAINT pk_quality_event PRIMARY KEY (id), 
	CONSTRAINT ck_quality_event_outcome CHECK (outcome in ('pass', 'fail', 'unknown')), 
	CONSTRAINT fk_quality_event_rater_id_rater FOREIGN KEY(rater_id) REFERENCES rater (id), 
	CONSTRAINT fk_quality_event_study_id_study FOREIGN KEY(study_id) REFERENCES study (id)
);
CREATE TABLE rater (
	id INTEGER NOT NULL, 
	public_id VARCHAR(48) NOT NULL, 
	kind VARCHAR(16) NOT NULL, 
	invitation_id INTEGER, 
	external_ref VARCHAR(255), 
	token_sha256 VARCHAR(64), 
	consent_version VARCHAR(64), 
	consented_at DATETIME, 
	created_at DATETIME NOT NULL, 
	erased_at DATETIME, 
	CONSTRAINT pk_rater PRIMARY KEY (id), 
	CONSTRAINT ck_rater_kind CHECK (kind in ('invited', 'chat', 'simulated')), 
	CONSTRAINT ck_rater_consent CHECK ((consent_version is null) = (consented_at is null)), 
	CONSTRAINT ck_rater_erased CHECK (erased_at is null or (external_ref is null and token_sha256 is null)), 
	CONSTRAINT fk_rater_invitation_id_invitation FOREIGN KEY(invitation_id) REFERENCES invitation (id), 
	CONSTRAINT uq_rater_public_id UNIQUE (public_id), 
	CONSTRAINT uq_rater_token_sha256 UNIQUE (token_sha256)
);
INSERT INTO "rater" VALUES(1,'rater-1','invited',NULL,NULL,NULL,NULL,NULL,'2026-03-04 05:06:07.891000',NULL);
CREATE TABLE response (
	id VARCHAR(48) NOT NULL, 
	system_id INTEGER NOT NULL, 
	context_id INTEGER NOT NULL, 
	text TEXT NOT NULL, 
	seed BIGINT NOT NULL, 
	choice INTEGER NOT NULL, 
	finish_reason VARCHAR(16) NOT NULL, 
	tokens INTEGER NOT NULL, 
	context_tokens INTEGER NOT NULL, 
	turns_used INTEGER NOT NULL, 
	score DOUBLE, 
	latency_ms INTEGER NOT NULL, 
	created_at DATETIME NOT NULL, 
	CONSTRAINT pk_response PRIMARY KEY (id), 
	CONSTRAINT ck_response_finish_reason CHECK (finish_reason in ('stop', 'length')), 
	CONSTRAINT ck_response_counts CHECK (tokens >= 0 and context_tokens >= 0 and latency_ms >= 0), 
	CONSTRAINT fk_response_context_id_context FOREIGN KEY(context_id) REFERENCES context (id), 
	CONSTRAINT fk_response_system_id_system FOREIGN KEY(system_id) REFERENCES system (id)
);
INSERT INTO "response" VALUES('reply-00000000000000000000000000000001',2,2,'回答 1 🙂
; -- ''',9007199254740993,1,'stop',1,3,1,0.2,10,'2026-03-04 05:06:07.891000');
INSERT INTO "response" VALUES('reply-00000000000000000000000000000002',1,3,'回答 2 🙂
; -- ''',9007199254740994,0,'stop',2,3,1,NULL,20,'2026-03-04 05:06:07.891000');
INSERT INTO "response" VALUES('reply-00000000000000000000000000000003',2,1,'回答 3 🙂
; -- ''',9007199254740995,1,'stop',3,3,1,0.4,30,'2026-03-04 05:06:07.891000');
INSERT INTO "response" VALUES('reply-00000000000000000000000000000004',1,2,'回答 4 🙂
; -- ''',9007199254740996,0,'stop',4,3,1,0.5,40,'2026-03-04 05:06:07.891000');
INSERT INTO "response" VALUES('reply-00000000000000000000000000000005',2,3,'回答 5 🙂
; -- ''',9007199254740997,1,'stop',5,3,1,0.6,50,'2026-03-04 05:06:07.891000');
INSERT INTO "response" VALUES('reply-00000000000000000000000000000006',1,1,'回答 6 🙂
; -- ''',9007199254740998,0,'stop',6,3,1,0.7,60,'2026-03-04 05:06:07.891000');
CREATE TABLE study (
	id INTEGER NOT NULL, 
	slug VARCHAR(64) NOT NULL, 
	title VARCHAR(255) NOT NULL, 
	protocol JSON NOT NULL, 
	seed BIGINT NOT NULL, 
	status VARCHAR(16) NOT NULL, 
	created_at DATETIME NOT NULL, 
	started_at DATETIME, 
	closed_at DATETIME, 
	CONSTRAINT pk_study PRIMARY KEY (id), 
	CONSTRAINT ck_study_closed CHECK ((status = 'closed') = (closed_at is not null)), 
	CONSTRAINT ck_study_started CHECK (status = 'draft' or started_at is not null), 
	CONSTRAINT ck_study_status CHECK (status in ('draft', 'running', 'closed')), 
	CONSTRAINT uq_study_slug UNIQUE (slug)
);
INSERT INTO "study" VALUES(1,'old-study','Which is better? 哪个更好','{"kind": "pair", "k": 2, "lease_seconds": 600, "gold_rate": 0.0, "repeat_rate": 0.0, "aa_rate": 0.0, "reveal": false, "daily_cap": null, "dimensions": null, "quality": {"min_judgements": 8, "min_gold_accuracy": 0.7, "min_dwell_ms": 700, "max_fast_share": 0.3, "max_one_side_share": 0.9, "max_one_value_share": 0.95, "min_repeat_agreement": 0.5}, "consent": {"version": "1", "text": "Your judgements are stored under a random name and used to compare reply generators. No address of your device is stored. You may stop at any time and ask for your identity and comments to be erased; the numbers stay under the random name."}, "instructions": ""}',7,'running','2026-03-04 05:06:07.891000','2026-03-04 05:06:07.891000',NULL);
CREATE TABLE system (
	id INTEGER NOT NULL, 
	name VARCHAR(255) NOT NULL, 
	kind VARCHAR(16) NOT NULL, 
	weights_sha256 VARCHAR(64) NOT NULL, 
	decoding JSON NOT NULL, 
	decoding_sha256 VARCHAR(64) NOT NULL, 
	created_at DATETIME NOT NULL, 
	retired_at DATETIME, 
	CONSTRAINT pk_system PRIMARY KEY (id), 
	CONSTRAINT ck_system_weights CHECK ((kind = 'checkpoint') = (weights_sha256 <> '')), 
	CONSTRAINT ck_system_kind CHECK (kind in ('checkpoint', 'human', 'baseline')), 
	CONSTRAINT uq_system_name_weights_sha256_decoding_sha256 UNIQUE (name, weights_sha256, decoding_sha256)
);
INSERT INTO "system" VALUES(1,'recurrent','checkpoint','aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa','{"temperature": 0.7, "top_p": 1.0}','1111111111111111111111111111111111111111111111111111111111111111','2026-03-04 05:06:07.891000',NULL);
INSERT INTO "system" VALUES(2,'human','human','','{}','2222222222222222222222222222222222222222222222222222222222222222','2026-03-04 05:06:07.891000',NULL);
CREATE TABLE turn (
	id INTEGER NOT NULL, 
	conversation_id VARCHAR(48) NOT NULL, 
	position INTEGER NOT NULL, 
	role VARCHAR(16) NOT NULL, 
	text TEXT NOT NULL, 
	response_id VARCHAR(48), 
	created_at DATETIME NOT NULL, 
	CONSTRAINT pk_turn PRIMARY KEY (id), 
	CONSTRAINT ck_turn_response CHECK ((role = 'assistant') = (response_id is not null)), 
	CONSTRAINT ck_turn_role CHECK (role in ('user', 'assistant')), 
	CONSTRAINT fk_turn_conversation_id_conversation FOREIGN KEY(conversation_id) REFERENCES conversation (id) ON DELETE CASCADE, 
	CONSTRAINT fk_turn_response_id_response FOREIGN KEY(response_id) REFERENCES response (id), 
	CONSTRAINT uq_turn_conversation_id_position UNIQUE (conversation_id, position)
);
INSERT INTO "turn" VALUES(1,'talk-1',0,'user','hello',NULL,'2026-03-04 05:06:07.891000');
INSERT INTO "turn" VALUES(2,'talk-1',1,'assistant','回答 1','reply-00000000000000000000000000000001','2026-03-04 05:06:07.891000');
CREATE INDEX ix_idempotency_record_created_at ON idempotency_record (created_at);
CREATE INDEX ix_response_context_id ON response (context_id);
CREATE INDEX ix_response_created_at ON response (created_at);
CREATE INDEX ix_response_system_id ON response (system_id);
CREATE INDEX ix_turn_response_id ON turn (response_id);
CREATE INDEX ix_audit_event_at ON audit_event (at);
CREATE INDEX ix_analysis_run_study_id ON analysis_run (study_id);
CREATE INDEX ix_invitation_study_id ON invitation (study_id);
CREATE INDEX ix_item_context_id ON item (context_id);
CREATE INDEX ix_item_repeats_item_id ON item (repeats_item_id);
CREATE INDEX ix_item_response_a_id ON item (response_a_id);
CREATE INDEX ix_item_response_b_id ON item (response_b_id);
CREATE INDEX ix_rater_invitation_id ON rater (invitation_id);
CREATE INDEX ix_assignment_rater_id ON assignment (rater_id);
CREATE UNIQUE INDEX uq_assignment_open_lease ON assignment (rater_id) WHERE state = 'leased';
CREATE INDEX ix_exclusion_analysis_run_id ON exclusion (analysis_run_id);
CREATE INDEX ix_exclusion_rater_id ON exclusion (rater_id);
CREATE INDEX ix_exclusion_study_id ON exclusion (study_id);
CREATE INDEX ix_quality_event_rater_id ON quality_event (rater_id);
CREATE INDEX ix_quality_event_study_id ON quality_event (study_id);
CREATE INDEX ix_judgement_response_id ON judgement (response_id);
CREATE INDEX ix_judgement_assignment_id ON judgement (assignment_id);
CREATE INDEX ix_judgement_rater_id ON judgement (rater_id);
CREATE UNIQUE INDEX uq_judgement_assignment ON judgement (assignment_id, dimension) WHERE supersedes is null and assignment_id is not null;
CREATE UNIQUE INDEX uq_judgement_rater ON judgement (response_id, rater_id, dimension) WHERE supersedes is null and rater_id is not null;
CREATE UNIQUE INDEX uq_judgement_anonymous ON judgement (response_id, dimension) WHERE supersedes is null and rater_id is null;
COMMIT;
