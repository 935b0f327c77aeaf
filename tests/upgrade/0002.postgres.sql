CREATE TABLE public.alembic_version (
    version_num character varying(32) NOT NULL
);
CREATE TABLE public.analysis_run (
    id bigint NOT NULL,
    study_id bigint,
    rules jsonb NOT NULL,
    seed bigint NOT NULL,
    code_version character varying(64) NOT NULL,
    last_judgement_id bigint NOT NULL,
    result jsonb NOT NULL,
    created_at timestamp with time zone NOT NULL
);
CREATE SEQUENCE public.analysis_run_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.analysis_run_id_seq OWNED BY public.analysis_run.id;
CREATE TABLE public.assignment (
    id bigint NOT NULL,
    item_id bigint NOT NULL,
    rater_id bigint NOT NULL,
    state character varying(16) NOT NULL,
    swapped boolean NOT NULL,
    lease_token character varying(48) NOT NULL,
    leased_at timestamp with time zone NOT NULL,
    expires_at timestamp with time zone NOT NULL,
    finished_at timestamp with time zone,
    skip_reason character varying(32),
    flag character varying(32),
    flag_comment text,
    CONSTRAINT ck_assignment_finished CHECK ((((state)::text = ANY ((ARRAY['done'::character varying, 'skipped'::character varying])::text[])) = (finished_at IS NOT NULL))),
    CONSTRAINT ck_assignment_flag CHECK (((flag_comment IS NULL) OR (flag IS NOT NULL))),
    CONSTRAINT ck_assignment_skipped CHECK ((((state)::text = 'skipped'::text) = (skip_reason IS NOT NULL))),
    CONSTRAINT ck_assignment_state CHECK (((state)::text = ANY ((ARRAY['leased'::character varying, 'done'::character varying, 'skipped'::character varying, 'expired'::character varying])::text[])))
);
CREATE SEQUENCE public.assignment_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.assignment_id_seq OWNED BY public.assignment.id;
CREATE TABLE public.audit_event (
    id bigint NOT NULL,
    at timestamp with time zone NOT NULL,
    actor character varying(64) NOT NULL,
    action character varying(64) NOT NULL,
    object character varying(255) NOT NULL,
    detail jsonb NOT NULL
);
CREATE SEQUENCE public.audit_event_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.audit_event_id_seq OWNED BY public.audit_event.id;
CREATE TABLE public.context (
    id bigint NOT NULL,
    sha256 character varying(64) NOT NULL,
    messages jsonb NOT NULL,
    created_at timestamp with time zone NOT NULL,
    source character varying(255),
    split character varying(16)
);
CREATE SEQUENCE public.context_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.context_id_seq OWNED BY public.context.id;
CREATE TABLE public.conversation (
    id character varying(48) NOT NULL,
    created_at timestamp with time zone NOT NULL
);
CREATE TABLE public.dimension (
    id bigint NOT NULL,
    study_id bigint NOT NULL,
    "position" integer NOT NULL,
    name character varying(64) NOT NULL,
    anchors jsonb NOT NULL
);
CREATE SEQUENCE public.dimension_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.dimension_id_seq OWNED BY public.dimension.id;
CREATE TABLE public.exclusion (
    id bigint NOT NULL,
    study_id bigint NOT NULL,
    rater_id bigint NOT NULL,
    analysis_run_id bigint NOT NULL,
    rule character varying(32) NOT NULL,
    detail jsonb NOT NULL,
    created_at timestamp with time zone NOT NULL
);
CREATE SEQUENCE public.exclusion_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.exclusion_id_seq OWNED BY public.exclusion.id;
CREATE TABLE public.idempotency_record (
    route character varying(64) NOT NULL,
    key character varying(255) NOT NULL,
    request_sha256 character varying(64) NOT NULL,
    answer jsonb,
    created_at timestamp with time zone NOT NULL
);
CREATE TABLE public.invitation (
    id bigint NOT NULL,
    study_id bigint NOT NULL,
    token_sha256 character varying(64) NOT NULL,
    label character varying(255) NOT NULL,
    max_raters integer NOT NULL,
    expires_at timestamp with time zone,
    revoked_at timestamp with time zone,
    created_at timestamp with time zone NOT NULL,
    CONSTRAINT ck_invitation_max_raters CHECK ((max_raters >= 1))
);
CREATE SEQUENCE public.invitation_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.invitation_id_seq OWNED BY public.invitation.id;
CREATE TABLE public.item (
    id bigint NOT NULL,
    study_id bigint NOT NULL,
    "position" integer NOT NULL,
    kind character varying(16) NOT NULL,
    purpose character varying(16) NOT NULL,
    context_id bigint NOT NULL,
    response_a_id character varying(48) NOT NULL,
    response_b_id character varying(48),
    gold jsonb,
    repeats_item_id bigint,
    target integer,
    done integer NOT NULL,
    status character varying(16) NOT NULL,
    CONSTRAINT ck_item_done CHECK (((done >= 0) AND ((target IS NULL) OR ((target >= 1) AND (done <= target))))),
    CONSTRAINT ck_item_gold CHECK ((((purpose)::text = 'gold'::text) = (gold IS NOT NULL))),
    CONSTRAINT ck_item_kind CHECK (((kind)::text = ANY ((ARRAY['scale'::character varying, 'pair'::character varying, 'turing'::character varying])::text[]))),
    CONSTRAINT ck_item_pair CHECK ((((kind)::text = 'pair'::text) = (response_b_id IS NOT NULL))),
    CONSTRAINT ck_item_purpose CHECK (((purpose)::text = ANY ((ARRAY['normal'::character varying, 'gold'::character varying, 'aa'::character varying, 'repeat'::character varying])::text[]))),
    CONSTRAINT ck_item_repeat CHECK ((((purpose)::text = 'repeat'::text) = (repeats_item_id IS NOT NULL))),
    CONSTRAINT ck_item_status CHECK (((status)::text = ANY ((ARRAY['open'::character varying, 'done'::character varying, 'withdrawn'::character varying])::text[]))),
    CONSTRAINT ck_item_target CHECK ((((purpose)::text = 'gold'::text) = (target IS NULL))),
    CONSTRAINT ck_item_two_replies CHECK (((response_b_id IS NULL) OR ((response_a_id)::text <> (response_b_id)::text)))
);
CREATE SEQUENCE public.item_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.item_id_seq OWNED BY public.item.id;
CREATE TABLE public.judgement (
    id bigint NOT NULL,
    response_id character varying(48),
    kind character varying(16) NOT NULL,
    value integer,
    comment text,
    supersedes bigint,
    created_at timestamp with time zone NOT NULL,
    assignment_id bigint,
    rater_id bigint,
    dimension character varying(64) NOT NULL,
    choice character varying(16),
    side character varying(8),
    blind boolean NOT NULL,
    dwell_ms integer,
    reasons jsonb,
    CONSTRAINT ck_judgement_about_one_thing CHECK (((response_id IS NULL) <> (assignment_id IS NULL))),
    CONSTRAINT ck_judgement_dwell CHECK (((dwell_ms IS NULL) OR (dwell_ms >= 0))),
    CONSTRAINT ck_judgement_rater CHECK (((assignment_id IS NULL) OR (rater_id IS NOT NULL))),
    CONSTRAINT ck_judgement_side CHECK (((side IS NULL) OR (((kind)::text = 'pair'::text) AND ((side)::text = ANY ((ARRAY['left'::character varying, 'right'::character varying])::text[]))))),
    CONSTRAINT ck_judgement_value_by_kind CHECK (((((kind)::text = 'thumb'::text) AND (response_id IS NOT NULL) AND ((dimension)::text = ''::text) AND (choice IS NULL) AND (value IS NOT NULL) AND (value = ANY (ARRAY['-1'::integer, 1]))) OR (((kind)::text = 'scale'::text) AND ((dimension)::text <> ''::text) AND (choice IS NULL) AND (value IS NOT NULL) AND ((value >= 1) AND (value <= 5))) OR (((kind)::text = 'pair'::text) AND (assignment_id IS NOT NULL) AND ((dimension)::text = ''::text) AND (value IS NULL) AND (choice IS NOT NULL) AND ((choice)::text = ANY ((ARRAY['a'::character varying, 'b'::character varying, 'tie'::character varying, 'both_bad'::character varying])::text[])) AND (side IS NOT NULL)) OR (((kind)::text = 'turing'::text) AND (assignment_id IS NOT NULL) AND ((dimension)::text = ''::text) AND (value IS NULL) AND (choice IS NOT NULL) AND ((choice)::text = ANY ((ARRAY['human'::character varying, 'machine'::character varying])::text[])))))
);
CREATE SEQUENCE public.judgement_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.judgement_id_seq OWNED BY public.judgement.id;
CREATE TABLE public.quality_event (
    id bigint NOT NULL,
    study_id bigint NOT NULL,
    rater_id bigint NOT NULL,
    kind character varying(32) NOT NULL,
    outcome character varying(16) NOT NULL,
    detail jsonb NOT NULL,
    created_at timestamp with time zone NOT NULL,
    CONSTRAINT ck_quality_event_outcome CHECK (((outcome)::text = ANY ((ARRAY['pass'::character varying, 'fail'::character varying, 'unknown'::character varying])::text[])))
);
CREATE SEQUENCE public.quality_event_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.quality_event_id_seq OWNED BY public.quality_event.id;
CREATE TABLE public.rater (
    id bigint NOT NULL,
    public_id character varying(48) NOT NULL,
    kind character varying(16) NOT NULL,
    invitation_id bigint,
    external_ref character varying(255),
    token_sha256 character varying(64),
    consent_version character varying(64),
    consented_at timestamp with time zone,
    created_at timestamp with time zone NOT NULL,
    erased_at timestamp with time zone,
    CONSTRAINT ck_rater_consent CHECK (((consent_version IS NULL) = (consented_at IS NULL))),
    CONSTRAINT ck_rater_erased CHECK (((erased_at IS NULL) OR ((external_ref IS NULL) AND (token_sha256 IS NULL)))),
    CONSTRAINT ck_rater_kind CHECK (((kind)::text = ANY ((ARRAY['invited'::character varying, 'chat'::character varying, 'simulated'::character varying])::text[])))
);
CREATE SEQUENCE public.rater_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.rater_id_seq OWNED BY public.rater.id;
CREATE TABLE public.response (
    id character varying(48) NOT NULL,
    system_id bigint NOT NULL,
    context_id bigint NOT NULL,
    text text NOT NULL,
    seed bigint NOT NULL,
    choice integer NOT NULL,
    finish_reason character varying(16) NOT NULL,
    tokens integer NOT NULL,
    context_tokens integer NOT NULL,
    turns_used integer NOT NULL,
    score double precision,
    latency_ms integer NOT NULL,
    created_at timestamp with time zone NOT NULL,
    CONSTRAINT ck_response_counts CHECK (((tokens >= 0) AND (context_tokens >= 0) AND (latency_ms >= 0))),
    CONSTRAINT ck_response_finish_reason CHECK (((finish_reason)::text = ANY ((ARRAY['stop'::character varying, 'length'::character varying])::text[])))
);
CREATE TABLE public.study (
    id bigint NOT NULL,
    slug character varying(64) NOT NULL,
    title character varying(255) NOT NULL,
    protocol jsonb NOT NULL,
    seed bigint NOT NULL,
    status character varying(16) NOT NULL,
    created_at timestamp with time zone NOT NULL,
    started_at timestamp with time zone,
    closed_at timestamp with time zone,
    CONSTRAINT ck_study_closed CHECK ((((status)::text = 'closed'::text) = (closed_at IS NOT NULL))),
    CONSTRAINT ck_study_started CHECK ((((status)::text = 'draft'::text) OR (started_at IS NOT NULL))),
    CONSTRAINT ck_study_status CHECK (((status)::text = ANY ((ARRAY['draft'::character varying, 'running'::character varying, 'closed'::character varying])::text[])))
);
CREATE SEQUENCE public.study_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.study_id_seq OWNED BY public.study.id;
CREATE TABLE public.system (
    id bigint NOT NULL,
    name character varying(255) NOT NULL,
    kind character varying(16) NOT NULL,
    weights_sha256 character varying(64) NOT NULL,
    decoding jsonb NOT NULL,
    decoding_sha256 character varying(64) NOT NULL,
    created_at timestamp with time zone NOT NULL,
    retired_at timestamp with time zone,
    CONSTRAINT ck_system_kind CHECK (((kind)::text = ANY ((ARRAY['checkpoint'::character varying, 'human'::character varying, 'baseline'::character varying])::text[]))),
    CONSTRAINT ck_system_weights CHECK ((((kind)::text = 'checkpoint'::text) = ((weights_sha256)::text <> ''::text)))
);
CREATE SEQUENCE public.system_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.system_id_seq OWNED BY public.system.id;
CREATE TABLE public.turn (
    id bigint NOT NULL,
    conversation_id character varying(48) NOT NULL,
    "position" integer NOT NULL,
    role character varying(16) NOT NULL,
    text text NOT NULL,
    response_id character varying(48),
    created_at timestamp with time zone NOT NULL,
    CONSTRAINT ck_turn_response CHECK ((((role)::text = 'assistant'::text) = (response_id IS NOT NULL))),
    CONSTRAINT ck_turn_role CHECK (((role)::text = ANY ((ARRAY['user'::character varying, 'assistant'::character varying])::text[])))
);
CREATE SEQUENCE public.turn_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.turn_id_seq OWNED BY public.turn.id;
ALTER TABLE ONLY public.analysis_run ALTER COLUMN id SET DEFAULT nextval('public.analysis_run_id_seq'::regclass);
ALTER TABLE ONLY public.assignment ALTER COLUMN id SET DEFAULT nextval('public.assignment_id_seq'::regclass);
ALTER TABLE ONLY public.audit_event ALTER COLUMN id SET DEFAULT nextval('public.audit_event_id_seq'::regclass);
ALTER TABLE ONLY public.context ALTER COLUMN id SET DEFAULT nextval('public.context_id_seq'::regclass);
ALTER TABLE ONLY public.dimension ALTER COLUMN id SET DEFAULT nextval('public.dimension_id_seq'::regclass);
ALTER TABLE ONLY public.exclusion ALTER COLUMN id SET DEFAULT nextval('public.exclusion_id_seq'::regclass);
ALTER TABLE ONLY public.invitation ALTER COLUMN id SET DEFAULT nextval('public.invitation_id_seq'::regclass);
ALTER TABLE ONLY public.item ALTER COLUMN id SET DEFAULT nextval('public.item_id_seq'::regclass);
ALTER TABLE ONLY public.judgement ALTER COLUMN id SET DEFAULT nextval('public.judgement_id_seq'::regclass);
ALTER TABLE ONLY public.quality_event ALTER COLUMN id SET DEFAULT nextval('public.quality_event_id_seq'::regclass);
ALTER TABLE ONLY public.rater ALTER COLUMN id SET DEFAULT nextval('public.rater_id_seq'::regclass);
ALTER TABLE ONLY public.study ALTER COLUMN id SET DEFAULT nextval('public.study_id_seq'::regclass);
ALTER TABLE ONLY public.system ALTER COLUMN id SET DEFAULT nextval('public.system_id_seq'::regclass);
ALTER TABLE ONLY public.turn ALTER COLUMN id SET DEFAULT nextval('public.turn_id_seq'::regclass);
INSERT INTO public.alembic_version VALUES ('0002');
INSERT INTO public.assignment VALUES (1, 1, 1, 'done', true, 'lease-1', '2026-03-04 05:06:07.891+00', '2026-03-04 05:06:07.891+00', '2026-03-04 05:06:07.891+00', NULL, NULL, NULL);
INSERT INTO public.context VALUES (1, '0000000000000000000000000000000000000000000000000000000000000001', '[{"role": "user", "content": "hello"}]', '2026-03-04 05:06:07.891+00', NULL, NULL);
INSERT INTO public.context VALUES (2, '0000000000000000000000000000000000000000000000000000000000000002', '[{"role": "user", "content": "你好 \\ \"quoted\" ''single''"}]', '2026-03-04 05:06:07.891+00', NULL, NULL);
INSERT INTO public.context VALUES (3, '0000000000000000000000000000000000000000000000000000000000000003', '[{"role": "user", "content": "two\nlines 🙂"}]', '2026-03-04 05:06:07.891+00', NULL, NULL);
INSERT INTO public.conversation VALUES ('talk-1', '2026-03-04 05:06:07.891+00');
INSERT INTO public.idempotency_record VALUES ('ratings', 'k-1', 'cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc', '{"id": 2}', '2026-03-04 05:06:07.891+00');
INSERT INTO public.item VALUES (1, 1, 0, 'pair', 'normal', 1, 'reply-00000000000000000000000000000003', 'reply-00000000000000000000000000000006', NULL, NULL, 2, 1, 'open');
INSERT INTO public.judgement VALUES (1, 'reply-00000000000000000000000000000001', 'thumb', -1, '太短了 🙂', NULL, '2026-03-04 05:06:07.891+00', NULL, NULL, '', NULL, NULL, false, NULL, NULL);
INSERT INTO public.judgement VALUES (2, 'reply-00000000000000000000000000000001', 'thumb', 1, NULL, 1, '2026-03-04 05:06:07.891+00', NULL, NULL, '', NULL, NULL, false, NULL, '["fluent"]');
INSERT INTO public.judgement VALUES (3, NULL, 'pair', NULL, NULL, NULL, '2026-03-04 05:06:07.891+00', 1, 1, '', 'a', 'right', true, 4321, NULL);
INSERT INTO public.rater VALUES (1, 'rater-1', 'invited', NULL, NULL, NULL, NULL, NULL, '2026-03-04 05:06:07.891+00', NULL);
INSERT INTO public.response VALUES ('reply-00000000000000000000000000000001', 2, 2, '回答 1 🙂
; -- ''', 9007199254740993, 1, 'stop', 1, 3, 1, 0.2, 10, '2026-03-04 05:06:07.891+00');
INSERT INTO public.response VALUES ('reply-00000000000000000000000000000002', 1, 3, '回答 2 🙂
; -- ''', 9007199254740994, 0, 'stop', 2, 3, 1, NULL, 20, '2026-03-04 05:06:07.891+00');
INSERT INTO public.response VALUES ('reply-00000000000000000000000000000003', 2, 1, '回答 3 🙂
; -- ''', 9007199254740995, 1, 'stop', 3, 3, 1, 0.4, 30, '2026-03-04 05:06:07.891+00');
INSERT INTO public.response VALUES ('reply-00000000000000000000000000000004', 1, 2, '回答 4 🙂
; -- ''', 9007199254740996, 0, 'stop', 4, 3, 1, 0.5, 40, '2026-03-04 05:06:07.891+00');
INSERT INTO public.response VALUES ('reply-00000000000000000000000000000005', 2, 3, '回答 5 🙂
; -- ''', 9007199254740997, 1, 'stop', 5, 3, 1, 0.6, 50, '2026-03-04 05:06:07.891+00');
INSERT INTO public.response VALUES ('reply-00000000000000000000000000000006', 1, 1, '回答 6 🙂
; -- ''', 9007199254740998, 0, 'stop', 6, 3, 1, 0.7, 60, '2026-03-04 05:06:07.891+00');
INSERT INTO public.study VALUES (1, 'old-study', 'Which is better? 哪个更好', '{"k": 2, "kind": "pair", "reveal": false, "aa_rate": 0.0, "consent": {"text": "Your judgements are stored under a random name and used to compare reply generators. No address of your device is stored. You may stop at any time and ask for your identity and comments to be erased; the numbers stay under the random name.", "version": "1"}, "quality": {"min_dwell_ms": 700, "max_fast_share": 0.3, "min_judgements": 8, "min_gold_accuracy": 0.7, "max_one_side_share": 0.9, "max_one_value_share": 0.95, "min_repeat_agreement": 0.5}, "daily_cap": null, "gold_rate": 0.0, "dimensions": null, "repeat_rate": 0.0, "instructions": "", "lease_seconds": 600}', 7, 'running', '2026-03-04 05:06:07.891+00', '2026-03-04 05:06:07.891+00', NULL);
INSERT INTO public.system VALUES (1, 'recurrent', 'checkpoint', 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa', '{"top_p": 1.0, "temperature": 0.7}', '1111111111111111111111111111111111111111111111111111111111111111', '2026-03-04 05:06:07.891+00', NULL);
INSERT INTO public.system VALUES (2, 'human', 'human', '', '{}', '2222222222222222222222222222222222222222222222222222222222222222', '2026-03-04 05:06:07.891+00', NULL);
INSERT INTO public.turn VALUES (1, 'talk-1', 0, 'user', 'hello', NULL, '2026-03-04 05:06:07.891+00');
INSERT INTO public.turn VALUES (2, 'talk-1', 1, 'assistant', '回答 1', 'reply-00000000000000000000000000000001', '2026-03-04 05:06:07.891+00');
SELECT pg_catalog.setval('public.analysis_run_id_seq', 1, true);
SELECT pg_catalog.setval('public.assignment_id_seq', 1, true);
SELECT pg_catalog.setval('public.audit_event_id_seq', 1, true);
SELECT pg_catalog.setval('public.context_id_seq', 3, true);
SELECT pg_catalog.setval('public.dimension_id_seq', 1, true);
SELECT pg_catalog.setval('public.exclusion_id_seq', 1, true);
SELECT pg_catalog.setval('public.invitation_id_seq', 1, true);
SELECT pg_catalog.setval('public.item_id_seq', 1, true);
SELECT pg_catalog.setval('public.judgement_id_seq', 3, true);
SELECT pg_catalog.setval('public.quality_event_id_seq', 1, true);
SELECT pg_catalog.setval('public.rater_id_seq', 1, true);
SELECT pg_catalog.setval('public.study_id_seq', 1, true);
SELECT pg_catalog.setval('public.system_id_seq', 2, true);
SELECT pg_catalog.setval('public.turn_id_seq', 2, true);
ALTER TABLE ONLY public.alembic_version
    ADD CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num);
ALTER TABLE ONLY public.analysis_run
    ADD CONSTRAINT pk_analysis_run PRIMARY KEY (id);
ALTER TABLE ONLY public.assignment
    ADD CONSTRAINT pk_assignment PRIMARY KEY (id);
ALTER TABLE ONLY public.audit_event
    ADD CONSTRAINT pk_audit_event PRIMARY KEY (id);
ALTER TABLE ONLY public.context
    ADD CONSTRAINT pk_context PRIMARY KEY (id);
ALTER TABLE ONLY public.conversation
    ADD CONSTRAINT pk_conversation PRIMARY KEY (id);
ALTER TABLE ONLY public.dimension
    ADD CONSTRAINT pk_dimension PRIMARY KEY (id);
ALTER TABLE ONLY public.exclusion
    ADD CONSTRAINT pk_exclusion PRIMARY KEY (id);
ALTER TABLE ONLY public.idempotency_record
    ADD CONSTRAINT pk_idempotency_record PRIMARY KEY (route, key);
ALTER TABLE ONLY public.invitation
    ADD CONSTRAINT pk_invitation PRIMARY KEY (id);
ALTER TABLE ONLY public.item
    ADD CONSTRAINT pk_item PRIMARY KEY (id);
ALTER TABLE ONLY public.judgement
    ADD CONSTRAINT pk_judgement PRIMARY KEY (id);
ALTER TABLE ONLY public.quality_event
    ADD CONSTRAINT pk_quality_event PRIMARY KEY (id);
ALTER TABLE ONLY public.rater
    ADD CONSTRAINT pk_rater PRIMARY KEY (id);
ALTER TABLE ONLY public.response
    ADD CONSTRAINT pk_response PRIMARY KEY (id);
ALTER TABLE ONLY public.study
    ADD CONSTRAINT pk_study PRIMARY KEY (id);
ALTER TABLE ONLY public.system
    ADD CONSTRAINT pk_system PRIMARY KEY (id);
ALTER TABLE ONLY public.turn
    ADD CONSTRAINT pk_turn PRIMARY KEY (id);
ALTER TABLE ONLY public.assignment
    ADD CONSTRAINT uq_assignment_item_id_rater_id UNIQUE (item_id, rater_id);
ALTER TABLE ONLY public.assignment
    ADD CONSTRAINT uq_assignment_lease_token UNIQUE (lease_token);
ALTER TABLE ONLY public.context
    ADD CONSTRAINT uq_context_sha256 UNIQUE (sha256);
ALTER TABLE ONLY public.dimension
    ADD CONSTRAINT uq_dimension_study_id_name UNIQUE (study_id, name);
ALTER TABLE ONLY public.invitation
    ADD CONSTRAINT uq_invitation_token_sha256 UNIQUE (token_sha256);
ALTER TABLE ONLY public.item
    ADD CONSTRAINT uq_item_study_id_position UNIQUE (study_id, "position");
ALTER TABLE ONLY public.judgement
    ADD CONSTRAINT uq_judgement_supersedes UNIQUE (supersedes);
ALTER TABLE ONLY public.rater
    ADD CONSTRAINT uq_rater_public_id UNIQUE (public_id);
ALTER TABLE ONLY public.rater
    ADD CONSTRAINT uq_rater_token_sha256 UNIQUE (token_sha256);
ALTER TABLE ONLY public.study
    ADD CONSTRAINT uq_study_slug UNIQUE (slug);
ALTER TABLE ONLY public.system
    ADD CONSTRAINT uq_system_name_weights_sha256_decoding_sha256 UNIQUE (name, weights_sha256, decoding_sha256);
ALTER TABLE ONLY public.turn
    ADD CONSTRAINT uq_turn_conversation_id_position UNIQUE (conversation_id, "position");
CREATE INDEX ix_analysis_run_study_id ON public.analysis_run USING btree (study_id);
CREATE INDEX ix_assignment_rater_id ON public.assignment USING btree (rater_id);
CREATE INDEX ix_audit_event_at ON public.audit_event USING btree (at);
CREATE INDEX ix_exclusion_analysis_run_id ON public.exclusion USING btree (analysis_run_id);
CREATE INDEX ix_exclusion_rater_id ON public.exclusion USING btree (rater_id);
CREATE INDEX ix_exclusion_study_id ON public.exclusion USING btree (study_id);
CREATE INDEX ix_idempotency_record_created_at ON public.idempotency_record USING btree (created_at);
CREATE INDEX ix_invitation_study_id ON public.invitation USING btree (study_id);
CREATE INDEX ix_item_context_id ON public.item USING btree (context_id);
CREATE INDEX ix_item_repeats_item_id ON public.item USING btree (repeats_item_id);
CREATE INDEX ix_item_response_a_id ON public.item USING btree (response_a_id);
CREATE INDEX ix_item_response_b_id ON public.item USING btree (response_b_id);
CREATE INDEX ix_judgement_assignment_id ON public.judgement USING btree (assignment_id);
CREATE INDEX ix_judgement_rater_id ON public.judgement USING btree (rater_id);
CREATE INDEX ix_judgement_response_id ON public.judgement USING btree (response_id);
CREATE INDEX ix_quality_event_rater_id ON public.quality_event USING btree (rater_id);
CREATE INDEX ix_quality_event_study_id ON public.quality_event USING btree (study_id);
CREATE INDEX ix_rater_invitation_id ON public.rater USING btree (invitation_id);
CREATE INDEX ix_response_context_id ON public.response USING btree (context_id);
CREATE INDEX ix_response_created_at ON public.response USING btree (created_at);
CREATE INDEX ix_response_system_id ON public.response USING btree (system_id);
CREATE INDEX ix_turn_response_id ON public.turn USING btree (response_id);
CREATE UNIQUE INDEX uq_assignment_open_lease ON public.assignment USING btree (rater_id) WHERE ((state)::text = 'leased'::text);
CREATE UNIQUE INDEX uq_judgement_anonymous ON public.judgement USING btree (response_id, dimension) WHERE ((supersedes IS NULL) AND (rater_id IS NULL));
CREATE UNIQUE INDEX uq_judgement_assignment ON public.judgement USING btree (assignment_id, dimension) WHERE ((supersedes IS NULL) AND (assignment_id IS NOT NULL));
CREATE UNIQUE INDEX uq_judgement_rater ON public.judgement USING btree (response_id, rater_id, dimension) WHERE ((supersedes IS NULL) AND (rater_id IS NOT NULL));
ALTER TABLE ONLY public.analysis_run
    ADD CONSTRAINT fk_analysis_run_study_id_study FOREIGN KEY (study_id) REFERENCES public.study(id);
ALTER TABLE ONLY public.assignment
    ADD CONSTRAINT fk_assignment_item_id_item FOREIGN KEY (item_id) REFERENCES public.item(id);
ALTER TABLE ONLY public.assignment
    ADD CONSTRAINT fk_assignment_rater_id_rater FOREIGN KEY (rater_id) REFERENCES public.rater(id);
ALTER TABLE ONLY public.dimension
    ADD CONSTRAINT fk_dimension_study_id_study FOREIGN KEY (study_id) REFERENCES public.study(id);
ALTER TABLE ONLY public.exclusion
    ADD CONSTRAINT fk_exclusion_analysis_run_id_analysis_run FOREIGN KEY (analysis_run_id) REFERENCES public.analysis_run(id);
ALTER TABLE ONLY public.exclusion
    ADD CONSTRAINT fk_exclusion_rater_id_rater FOREIGN KEY (rater_id) REFERENCES public.rater(id);
ALTER TABLE ONLY public.exclusion
    ADD CONSTRAINT fk_exclusion_study_id_study FOREIGN KEY (study_id) REFERENCES public.study(id);
ALTER TABLE ONLY public.invitation
    ADD CONSTRAINT fk_invitation_study_id_study FOREIGN KEY (study_id) REFERENCES public.study(id);
ALTER TABLE ONLY public.item
    ADD CONSTRAINT fk_item_context_id_context FOREIGN KEY (context_id) REFERENCES public.context(id);
ALTER TABLE ONLY public.item
    ADD CONSTRAINT fk_item_repeats_item_id_item FOREIGN KEY (repeats_item_id) REFERENCES public.item(id);
ALTER TABLE ONLY public.item
    ADD CONSTRAINT fk_item_response_a_id_response FOREIGN KEY (response_a_id) REFERENCES public.response(id);
ALTER TABLE ONLY public.item
    ADD CONSTRAINT fk_item_response_b_id_response FOREIGN KEY (response_b_id) REFERENCES public.response(id);
ALTER TABLE ONLY public.item
    ADD CONSTRAINT fk_item_study_id_study FOREIGN KEY (study_id) REFERENCES public.study(id);
ALTER TABLE ONLY public.judgement
    ADD CONSTRAINT fk_judgement_assignment_id_assignment FOREIGN KEY (assignment_id) REFERENCES public.assignment(id);
ALTER TABLE ONLY public.judgement
    ADD CONSTRAINT fk_judgement_rater_id_rater FOREIGN KEY (rater_id) REFERENCES public.rater(id);
ALTER TABLE ONLY public.judgement
    ADD CONSTRAINT fk_judgement_response_id_response FOREIGN KEY (response_id) REFERENCES public.response(id);
ALTER TABLE ONLY public.judgement
    ADD CONSTRAINT fk_judgement_supersedes_judgement FOREIGN KEY (supersedes) REFERENCES public.judgement(id);
ALTER TABLE ONLY public.quality_event
    ADD CONSTRAINT fk_quality_event_rater_id_rater FOREIGN KEY (rater_id) REFERENCES public.rater(id);
ALTER TABLE ONLY public.quality_event
    ADD CONSTRAINT fk_quality_event_study_id_study FOREIGN KEY (study_id) REFERENCES public.study(id);
ALTER TABLE ONLY public.rater
    ADD CONSTRAINT fk_rater_invitation_id_invitation FOREIGN KEY (invitation_id) REFERENCES public.invitation(id);
ALTER TABLE ONLY public.response
    ADD CONSTRAINT fk_response_context_id_context FOREIGN KEY (context_id) REFERENCES public.context(id);
ALTER TABLE ONLY public.response
    ADD CONSTRAINT fk_response_system_id_system FOREIGN KEY (system_id) REFERENCES public.system(id);
ALTER TABLE ONLY public.turn
    ADD CONSTRAINT fk_turn_conversation_id_conversation FOREIGN KEY (conversation_id) REFERENCES public.conversation(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.turn
    ADD CONSTRAINT fk_turn_response_id_response FOREIGN KEY (response_id) REFERENCES public.response(id);
