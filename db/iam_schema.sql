-- Tables of the identity and access management package, for MySQL 8.4 or newer.
-- Generated from the models by `flask iam schema`; changes here are lost.
-- Load it into an empty database, or let `flask iam init-db` create the same tables.
-- CREATE TRIGGER needs log_bin_trust_function_creators=ON where the binary log is on.

SET NAMES utf8mb4;

-- A signed statement of how long a tenant's trail was, and what its tree came to (C2SP).
CREATE TABLE iam_audit_checkpoint (
	id BINARY(16) NOT NULL,
	tenant_id BINARY(16) NOT NULL,
	size BIGINT NOT NULL,
	root BINARY(32) NOT NULL,
	chain BINARY(32) NOT NULL,
	note MEDIUMTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NOT NULL,
	signed_at DATETIME(6) NOT NULL,
	CONSTRAINT pk_iam_audit_checkpoint PRIMARY KEY (id)
)ENGINE=InnoDB CHARSET=utf8mb4 ROW_FORMAT=DYNAMIC COLLATE utf8mb4_0900_bin;

CREATE INDEX ix_iam_audit_checkpoint_size ON iam_audit_checkpoint (tenant_id, size);

CREATE INDEX ix_iam_audit_checkpoint_tenant_id_id ON iam_audit_checkpoint (tenant_id, id);

-- iam_audit_checkpoint is append-only for everyone, also by hand (requirement M2).
CREATE TRIGGER iam_audit_checkpoint_no_update BEFORE UPDATE ON iam_audit_checkpoint FOR EACH ROW SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'iam_audit_checkpoint is append-only';

CREATE TRIGGER iam_audit_checkpoint_no_delete BEFORE DELETE ON iam_audit_checkpoint FOR EACH ROW SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'iam_audit_checkpoint is append-only';

-- The hash of one complete subtree of 256, 65,536, … leaves, so that proofs stay cheap.
CREATE TABLE iam_audit_node (
	id BINARY(16) NOT NULL,
	tenant_id BINARY(16) NOT NULL,
	level SMALLINT NOT NULL,
	position BIGINT NOT NULL,
	hash BINARY(32) NOT NULL,
	CONSTRAINT pk_iam_audit_node PRIMARY KEY (id),
	CONSTRAINT uq_iam_audit_node_tenant_id_level_position UNIQUE (tenant_id, level, position)
)ENGINE=InnoDB CHARSET=utf8mb4 ROW_FORMAT=DYNAMIC COLLATE utf8mb4_0900_bin;

-- iam_audit_node is append-only for everyone, also by hand (requirement M2).
CREATE TRIGGER iam_audit_node_no_update BEFORE UPDATE ON iam_audit_node FOR EACH ROW SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'iam_audit_node is append-only';

CREATE TRIGGER iam_audit_node_no_delete BEFORE DELETE ON iam_audit_node FOR EACH ROW SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'iam_audit_node is append-only';

-- A signed statement that events before a number were deleted under the retention policy.
CREATE TABLE iam_audit_prune (
	id BINARY(16) NOT NULL,
	tenant_id BINARY(16) NOT NULL,
	from_seq BIGINT NOT NULL,
	until_seq BIGINT NOT NULL,
	note MEDIUMTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NOT NULL,
	pruned_at DATETIME(6) NOT NULL,
	CONSTRAINT pk_iam_audit_prune PRIMARY KEY (id),
	CONSTRAINT uq_iam_audit_prune_tenant_id_until_seq UNIQUE (tenant_id, until_seq)
)ENGINE=InnoDB CHARSET=utf8mb4 ROW_FORMAT=DYNAMIC COLLATE utf8mb4_0900_bin;

-- iam_audit_prune is append-only for everyone, also by hand (requirement M2).
CREATE TRIGGER iam_audit_prune_no_update BEFORE UPDATE ON iam_audit_prune FOR EACH ROW SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'iam_audit_prune is append-only';

CREATE TRIGGER iam_audit_prune_no_delete BEFORE DELETE ON iam_audit_prune FOR EACH ROW SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'iam_audit_prune is append-only';

-- The place of one event in its tenant's sequence: leaf of the tree, link of the chain.
CREATE TABLE iam_audit_seal (
	id BINARY(16) NOT NULL,
	tenant_id BINARY(16) NOT NULL,
	seq BIGINT NOT NULL,
	leaf BINARY(32) NOT NULL,
	chain BINARY(32) NOT NULL,
	CONSTRAINT pk_iam_audit_seal PRIMARY KEY (id),
	CONSTRAINT uq_iam_audit_seal_tenant_id_seq UNIQUE (tenant_id, seq)
)ENGINE=InnoDB CHARSET=utf8mb4 ROW_FORMAT=DYNAMIC COLLATE utf8mb4_0900_bin;

-- iam_audit_seal is append-only for everyone, also by hand (requirement M2).
CREATE TRIGGER iam_audit_seal_no_update BEFORE UPDATE ON iam_audit_seal FOR EACH ROW SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'iam_audit_seal is append-only';

CREATE TRIGGER iam_audit_seal_no_delete BEFORE DELETE ON iam_audit_seal FOR EACH ROW SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'iam_audit_seal is append-only';

-- One event of the audit trail.
CREATE TABLE iam_auth_log (
	id BINARY(16) NOT NULL,
	tenant_id BINARY(16) NOT NULL,
	action VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NOT NULL,
	severity VARCHAR(16) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NOT NULL,
	status VARCHAR(16) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NOT NULL,
	actor_type VARCHAR(32) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NOT NULL,
	actor_id BINARY(16),
	on_behalf_of_id BINARY(16),
	resource_type VARCHAR(32) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
	resource_id BINARY(16),
	subject_id BINARY(16),
	changes JSON NOT NULL,
	ip VARCHAR(45) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
	user_agent VARCHAR(400) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
	request_id VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
	session_hash VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
	error VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
	metadata JSON NOT NULL,
	ip_index VARBINARY(16),
	origin_sealed VARBINARY(1024),
	personal_sealed VARBINARY(32768),
	encoding_version SMALLINT NOT NULL,
	occurred_at DATETIME(6) NOT NULL,
	recorded_at DATETIME(6) NOT NULL,
	mac BINARY(32),
	CONSTRAINT pk_iam_auth_log PRIMARY KEY (id)
)ENGINE=InnoDB CHARSET=utf8mb4 ROW_FORMAT=DYNAMIC COLLATE utf8mb4_0900_bin;

CREATE INDEX ix_iam_auth_log_action ON iam_auth_log (tenant_id, action, id);

CREATE INDEX ix_iam_auth_log_actor ON iam_auth_log (tenant_id, actor_id, id);

CREATE INDEX ix_iam_auth_log_ip ON iam_auth_log (tenant_id, ip_index, id);

CREATE INDEX ix_iam_auth_log_resource ON iam_auth_log (tenant_id, resource_id, id);

CREATE INDEX ix_iam_auth_log_severity ON iam_auth_log (tenant_id, severity, id);

CREATE INDEX ix_iam_auth_log_status ON iam_auth_log (tenant_id, status, id);

CREATE INDEX ix_iam_auth_log_subject ON iam_auth_log (tenant_id, subject_id, id);

CREATE INDEX ix_iam_auth_log_tenant_id_id ON iam_auth_log (tenant_id, id);

-- iam_auth_log is append-only for everyone, also by hand (requirement M2).
CREATE TRIGGER iam_auth_log_no_update BEFORE UPDATE ON iam_auth_log FOR EACH ROW SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'iam_auth_log is append-only';

CREATE TRIGGER iam_auth_log_no_delete BEFORE DELETE ON iam_auth_log FOR EACH ROW IF NOT (EXISTS (SELECT 1 FROM iam_audit_seal JOIN iam_audit_prune ON iam_audit_prune.tenant_id = iam_audit_seal.tenant_id AND iam_audit_seal.seq < iam_audit_prune.until_seq WHERE iam_audit_seal.id = OLD.id AND iam_audit_seal.tenant_id = OLD.tenant_id)) THEN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'iam_auth_log is append-only'; END IF;

-- A message on its way. Recipient, subject and text live encrypted in `payload` (AT-044).
CREATE TABLE iam_outbox (
	id BINARY(16) NOT NULL,
	tenant_id BINARY(16) NOT NULL,
	channel VARCHAR(16) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NOT NULL,
	purpose VARCHAR(48) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NOT NULL,
	payload MEDIUMTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
	recipient_digest BINARY(32) NOT NULL,
	range_digest BINARY(32),
	country VARCHAR(3) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
	status VARCHAR(16) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NOT NULL,
	attempts INTEGER NOT NULL,
	next_attempt_at DATETIME(6) NOT NULL,
	lease_until DATETIME(6),
	expires_at DATETIME(6),
	last_error VARCHAR(200) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
	provider VARCHAR(32) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
	provider_message_id VARCHAR(128) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
	idempotency_key VARCHAR(100) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
	user_id BINARY(16),
	created_at DATETIME(6) NOT NULL,
	sent_at DATETIME(6),
	CONSTRAINT pk_iam_outbox PRIMARY KEY (id),
	CONSTRAINT uq_iam_outbox_tenant_id_idempotency_key UNIQUE (tenant_id, idempotency_key)
)ENGINE=InnoDB CHARSET=utf8mb4 ROW_FORMAT=DYNAMIC COLLATE utf8mb4_0900_bin;

CREATE INDEX ix_iam_outbox_caps ON iam_outbox (tenant_id, created_at);

CREATE INDEX ix_iam_outbox_drain ON iam_outbox (status, next_attempt_at);

CREATE INDEX ix_iam_outbox_range ON iam_outbox (range_digest, created_at);

CREATE INDEX ix_iam_outbox_recipient ON iam_outbox (recipient_digest, created_at);

CREATE INDEX ix_iam_outbox_user ON iam_outbox (tenant_id, user_id);

-- A tenant: nothing inside it is visible from another.
CREATE TABLE iam_tenant (
	id BINARY(16) NOT NULL,
	tenant_id BINARY(16) NOT NULL,
	parent_id BINARY(16),
	type VARCHAR(16) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NOT NULL,
	slug VARCHAR(63) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NOT NULL,
	host VARCHAR(253) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
	name VARCHAR(120) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NOT NULL,
	status VARCHAR(16) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NOT NULL,
	authz_version INTEGER NOT NULL,
	metadata JSON NOT NULL,
	created_at DATETIME(6) NOT NULL,
	CONSTRAINT pk_iam_tenant PRIMARY KEY (id),
	CONSTRAINT uq_iam_tenant_slug UNIQUE (slug),
	CONSTRAINT ck_iam_tenant_own_tenant CHECK (tenant_id = id),
	CONSTRAINT fk_iam_tenant_parent_id FOREIGN KEY(parent_id) REFERENCES iam_tenant (id)
)ENGINE=InnoDB CHARSET=utf8mb4 ROW_FORMAT=DYNAMIC COLLATE utf8mb4_0900_bin;

CREATE INDEX ix_iam_tenant_parent_id ON iam_tenant (parent_id);

CREATE UNIQUE INDEX uq_iam_tenant_host ON iam_tenant (host);

-- A counter of attempts; its id is derived from tenant, scope and subject.
CREATE TABLE iam_throttle (
	id BINARY(16) NOT NULL,
	tenant_id BINARY(16) NOT NULL,
	scope VARCHAR(48) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NOT NULL,
	count INTEGER NOT NULL,
	window_ends_at DATETIME(6),
	blocked_until DATETIME(6),
	updated_at DATETIME(6) NOT NULL,
	CONSTRAINT pk_iam_throttle PRIMARY KEY (id)
)ENGINE=InnoDB CHARSET=utf8mb4 ROW_FORMAT=DYNAMIC COLLATE utf8mb4_0900_bin;

CREATE INDEX ix_iam_throttle_updated_at ON iam_throttle (updated_at);

-- How far a tenant's trail is sealed; its row is the sealer's lock. The id is the tenant's.
CREATE TABLE iam_audit_head (
	id BINARY(16) NOT NULL,
	tenant_id BINARY(16) NOT NULL,
	size BIGINT NOT NULL,
	chain BINARY(32) NOT NULL,
	frontier VARBINARY(2048) NOT NULL,
	searched_from BINARY(16) NOT NULL,
	swept_at DATETIME(6),
	checkpoint_at DATETIME(6),
	anchored JSON NOT NULL,
	CONSTRAINT pk_iam_audit_head PRIMARY KEY (id),
	CONSTRAINT fk_iam_audit_head_tenant_id FOREIGN KEY(tenant_id) REFERENCES iam_tenant (id)
)ENGINE=InnoDB CHARSET=utf8mb4 ROW_FORMAT=DYNAMIC COLLATE utf8mb4_0900_bin;

-- The Ed25519 key that signs a tenant's checkpoints; the private half is encrypted.
CREATE TABLE iam_audit_key (
	id BINARY(16) NOT NULL,
	tenant_id BINARY(16) NOT NULL,
	name VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NOT NULL,
	public_key BINARY(32) NOT NULL,
	private_key MEDIUMTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NOT NULL,
	created_at DATETIME(6) NOT NULL,
	retired_at DATETIME(6),
	CONSTRAINT pk_iam_audit_key PRIMARY KEY (id),
	CONSTRAINT fk_iam_audit_key_tenant_id FOREIGN KEY(tenant_id) REFERENCES iam_tenant (id),
	CONSTRAINT uq_iam_audit_key_tenant_id_public_key UNIQUE (tenant_id, public_key)
)ENGINE=InnoDB CHARSET=utf8mb4 ROW_FORMAT=DYNAMIC COLLATE utf8mb4_0900_bin;

-- An organization inside a tenant: the `parent_id` of users and of a host's objects.
CREATE TABLE iam_organization (
	id BINARY(16) NOT NULL,
	tenant_id BINARY(16) NOT NULL,
	parent_id BINARY(16),
	type VARCHAR(16) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NOT NULL,
	name VARCHAR(120) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NOT NULL,
	status VARCHAR(16) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NOT NULL,
	created_at DATETIME(6) NOT NULL,
	CONSTRAINT pk_iam_organization PRIMARY KEY (id),
	CONSTRAINT uq_iam_organization_tenant_id_id UNIQUE (tenant_id, id),
	CONSTRAINT fk_iam_organization_tenant_id FOREIGN KEY(tenant_id) REFERENCES iam_tenant (id),
	CONSTRAINT fk_iam_organization_tenant_id_parent_id FOREIGN KEY(tenant_id, parent_id) REFERENCES iam_organization (tenant_id, id)
)ENGINE=InnoDB CHARSET=utf8mb4 ROW_FORMAT=DYNAMIC COLLATE utf8mb4_0900_bin;

-- A permission, written `resource:action`.
CREATE TABLE iam_permission (
	id BINARY(16) NOT NULL,
	tenant_id BINARY(16) NOT NULL,
	name VARCHAR(96) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NOT NULL,
	resource VARCHAR(48) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NOT NULL,
	action VARCHAR(48) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NOT NULL,
	description VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NOT NULL,
	CONSTRAINT pk_iam_permission PRIMARY KEY (id),
	CONSTRAINT uq_iam_permission_tenant_id_name UNIQUE (tenant_id, name),
	CONSTRAINT uq_iam_permission_tenant_id_id UNIQUE (tenant_id, id),
	CONSTRAINT fk_iam_permission_tenant_id FOREIGN KEY(tenant_id) REFERENCES iam_tenant (id)
)ENGINE=InnoDB CHARSET=utf8mb4 ROW_FORMAT=DYNAMIC COLLATE utf8mb4_0900_bin;

-- A role; it also holds what its parent holds.
CREATE TABLE iam_role (
	id BINARY(16) NOT NULL,
	tenant_id BINARY(16) NOT NULL,
	name VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NOT NULL,
	description VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NOT NULL,
	parent_id BINARY(16),
	is_system BOOL NOT NULL,
	mfa_policy VARCHAR(16) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
	created_at DATETIME(6) NOT NULL,
	CONSTRAINT pk_iam_role PRIMARY KEY (id),
	CONSTRAINT uq_iam_role_tenant_id_name UNIQUE (tenant_id, name),
	CONSTRAINT uq_iam_role_tenant_id_id UNIQUE (tenant_id, id),
	CONSTRAINT fk_iam_role_tenant_id FOREIGN KEY(tenant_id) REFERENCES iam_tenant (id),
	CONSTRAINT fk_iam_role_tenant_id_parent_id FOREIGN KEY(tenant_id, parent_id) REFERENCES iam_role (tenant_id, id)
)ENGINE=InnoDB CHARSET=utf8mb4 ROW_FORMAT=DYNAMIC COLLATE utf8mb4_0900_bin;

-- A tenant's connection to a provider. `from_settings`: what is null here comes from those.
CREATE TABLE iam_sso_connection (
	id BINARY(16) NOT NULL,
	tenant_id BINARY(16) NOT NULL,
	slug VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NOT NULL,
	provider VARCHAR(32) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NOT NULL,
	name VARCHAR(80) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NOT NULL,
	enabled BOOL NOT NULL,
	is_default BOOL NOT NULL,
	from_settings BOOL NOT NULL,
	client_id VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
	client_secret MEDIUMTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
	discovery_url VARCHAR(500) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
	endpoints JSON NOT NULL,
	scopes JSON NOT NULL,
	options JSON NOT NULL,
	attributes JSON NOT NULL,
	jit VARCHAR(16) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NOT NULL,
	trusts_mfa BOOL NOT NULL,
	allow_private BOOL NOT NULL,
	end_sessions BOOL NOT NULL,
	provider_logout BOOL NOT NULL,
	secret_changed_at DATETIME(6),
	created_by BINARY(16),
	created_at DATETIME(6) NOT NULL,
	updated_at DATETIME(6) NOT NULL,
	CONSTRAINT pk_iam_sso_connection PRIMARY KEY (id),
	CONSTRAINT uq_iam_sso_connection_tenant_id_slug UNIQUE (tenant_id, slug),
	CONSTRAINT uq_iam_sso_connection_tenant_id_id UNIQUE (tenant_id, id),
	CONSTRAINT fk_iam_sso_connection_tenant_id FOREIGN KEY(tenant_id) REFERENCES iam_tenant (id)
)ENGINE=InnoDB CHARSET=utf8mb4 ROW_FORMAT=DYNAMIC COLLATE utf8mb4_0900_bin;

-- One person's key; the id is the account's. `wrapped_key` is None once it is destroyed.
CREATE TABLE iam_subject_key (
	id BINARY(16) NOT NULL,
	tenant_id BINARY(16) NOT NULL,
	wrapped_key MEDIUMTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
	created_at DATETIME(6) NOT NULL,
	destroyed_at DATETIME(6),
	CONSTRAINT pk_iam_subject_key PRIMARY KEY (id),
	CONSTRAINT fk_iam_subject_key_tenant_id FOREIGN KEY(tenant_id) REFERENCES iam_tenant (id)
)ENGINE=InnoDB CHARSET=utf8mb4 ROW_FORMAT=DYNAMIC COLLATE utf8mb4_0900_bin;

-- A domain of e-mail addresses that a tenant says is its own.
CREATE TABLE iam_domain (
	id BINARY(16) NOT NULL,
	tenant_id BINARY(16) NOT NULL,
	name VARCHAR(253) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NOT NULL,
	verified_name VARCHAR(253) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
	token VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NOT NULL,
	connection_id BINARY(16),
	verified_at DATETIME(6),
	checked_at DATETIME(6),
	missing_since DATETIME(6),
	created_at DATETIME(6) NOT NULL,
	CONSTRAINT pk_iam_domain PRIMARY KEY (id),
	CONSTRAINT uq_iam_domain_tenant_id_name UNIQUE (tenant_id, name),
	CONSTRAINT uq_iam_domain_verified_name UNIQUE (verified_name),
	CONSTRAINT fk_iam_domain_tenant_id FOREIGN KEY(tenant_id) REFERENCES iam_tenant (id),
	CONSTRAINT fk_iam_domain_tenant_id_connection_id FOREIGN KEY(tenant_id, connection_id) REFERENCES iam_sso_connection (tenant_id, id)
)ENGINE=InnoDB CHARSET=utf8mb4 ROW_FORMAT=DYNAMIC COLLATE utf8mb4_0900_bin;

CREATE INDEX ix_iam_domain_checked_at ON iam_domain (checked_at);

-- A permission held by a role, in a scope.
CREATE TABLE iam_role_permission (
	id BINARY(16) NOT NULL,
	tenant_id BINARY(16) NOT NULL,
	role_id BINARY(16) NOT NULL,
	permission_id BINARY(16) NOT NULL,
	scope VARCHAR(16) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NOT NULL,
	conditions JSON NOT NULL,
	CONSTRAINT pk_iam_role_permission PRIMARY KEY (id),
	CONSTRAINT uq_iam_role_permission_tenant_id_role_id_permission_id_scope UNIQUE (tenant_id, role_id, permission_id, scope),
	CONSTRAINT fk_iam_role_permission_tenant_id_role_id FOREIGN KEY(tenant_id, role_id) REFERENCES iam_role (tenant_id, id),
	CONSTRAINT fk_iam_role_permission_tenant_id_permission_id FOREIGN KEY(tenant_id, permission_id) REFERENCES iam_permission (tenant_id, id)
)ENGINE=InnoDB CHARSET=utf8mb4 ROW_FORMAT=DYNAMIC COLLATE utf8mb4_0900_bin;

-- A logout token that was received, so that none counts twice (AT-203).
CREATE TABLE iam_sso_logout_token (
	id BINARY(16) NOT NULL,
	tenant_id BINARY(16) NOT NULL,
	connection_id BINARY(16) NOT NULL,
	token_digest BINARY(32) NOT NULL,
	created_at DATETIME(6) NOT NULL,
	expires_at DATETIME(6) NOT NULL,
	CONSTRAINT pk_iam_sso_logout_token PRIMARY KEY (id),
	CONSTRAINT uq_iam_sso_logout_token_tenant_id_token_digest UNIQUE (tenant_id, token_digest),
	CONSTRAINT fk_iam_sso_logout_token_tenant_id_connection_id FOREIGN KEY(tenant_id, connection_id) REFERENCES iam_sso_connection (tenant_id, id) ON DELETE CASCADE
)ENGINE=InnoDB CHARSET=utf8mb4 ROW_FORMAT=DYNAMIC COLLATE utf8mb4_0900_bin;

CREATE INDEX ix_iam_sso_logout_token_expires_at ON iam_sso_logout_token (expires_at);

-- A claim's value that gives a role while it lasts.
CREATE TABLE iam_sso_role_rule (
	id BINARY(16) NOT NULL,
	tenant_id BINARY(16) NOT NULL,
	connection_id BINARY(16) NOT NULL,
	claim VARCHAR(120) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NOT NULL,
	value VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NOT NULL,
	role_id BINARY(16) NOT NULL,
	ceiling JSON NOT NULL,
	written_by BINARY(16),
	created_at DATETIME(6) NOT NULL,
	CONSTRAINT pk_iam_sso_role_rule PRIMARY KEY (id),
	CONSTRAINT uq_iam_sso_role_rule_tenant_id_connection_id_claim_value_role_id UNIQUE (tenant_id, connection_id, claim, value, role_id),
	CONSTRAINT fk_iam_sso_role_rule_tenant_id_role_id FOREIGN KEY(tenant_id, role_id) REFERENCES iam_role (tenant_id, id) ON DELETE CASCADE,
	CONSTRAINT fk_iam_sso_role_rule_tenant_id_connection_id FOREIGN KEY(tenant_id, connection_id) REFERENCES iam_sso_connection (tenant_id, id) ON DELETE CASCADE
)ENGINE=InnoDB CHARSET=utf8mb4 ROW_FORMAT=DYNAMIC COLLATE utf8mb4_0900_bin;

-- A person, or a machine, that can be signed in.
CREATE TABLE iam_user_account (
	id BINARY(16) NOT NULL,
	tenant_id BINARY(16) NOT NULL,
	username VARCHAR(150) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NOT NULL,
	username_canonical VARCHAR(190) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NOT NULL,
	email VARCHAR(254) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
	email_canonical VARCHAR(254) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
	email_verified BOOL NOT NULL,
	phone_number VARCHAR(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
	phone_verified BOOL NOT NULL,
	first_name VARCHAR(80) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NOT NULL,
	last_name VARCHAR(80) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NOT NULL,
	display_name VARCHAR(120) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NOT NULL,
	picture_url VARCHAR(500) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
	language VARCHAR(16) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
	timezone VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
	parent_id BINARY(16),
	actor_type VARCHAR(24) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NOT NULL,
	status VARCHAR(24) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NOT NULL,
	password_hash VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
	password_changed_at DATETIME(6),
	authz_version INTEGER NOT NULL,
	mfa_grace_until DATETIME(6),
	mfa_enrolment_due BOOL NOT NULL DEFAULT '0',
	webauthn_handle VARBINARY(64),
	last_login_at DATETIME(6),
	metadata JSON NOT NULL,
	created_at DATETIME(6) NOT NULL,
	updated_at DATETIME(6) NOT NULL,
	CONSTRAINT pk_iam_user_account PRIMARY KEY (id),
	CONSTRAINT uq_iam_user_account_tenant_id_id UNIQUE (tenant_id, id),
	CONSTRAINT uq_iam_user_account_tenant_id_username_canonical UNIQUE (tenant_id, username_canonical),
	CONSTRAINT uq_iam_user_account_tenant_id_email_canonical UNIQUE (tenant_id, email_canonical),
	CONSTRAINT fk_iam_user_account_tenant_id FOREIGN KEY(tenant_id) REFERENCES iam_tenant (id),
	CONSTRAINT fk_iam_user_account_tenant_id_parent_id FOREIGN KEY(tenant_id, parent_id) REFERENCES iam_organization (tenant_id, id)
)ENGINE=InnoDB CHARSET=utf8mb4 ROW_FORMAT=DYNAMIC COLLATE utf8mb4_0900_bin;

CREATE INDEX ix_iam_user_account_status ON iam_user_account (tenant_id, status, id);

-- A stay of a platform's administrator in another tenant: for a reason, until a time (K5).
CREATE TABLE iam_access_context (
	id BINARY(16) NOT NULL,
	tenant_id BINARY(16) NOT NULL,
	target_tenant_id BINARY(16) NOT NULL,
	user_id BINARY(16) NOT NULL,
	session_id BINARY(16) NOT NULL,
	reason VARCHAR(200) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NOT NULL,
	started_at DATETIME(6) NOT NULL,
	ends_at DATETIME(6) NOT NULL,
	ended_at DATETIME(6),
	end_reason VARCHAR(16) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
	CONSTRAINT pk_iam_access_context PRIMARY KEY (id),
	CONSTRAINT fk_iam_access_context_tenant_id FOREIGN KEY(tenant_id) REFERENCES iam_tenant (id),
	CONSTRAINT fk_iam_access_context_target_tenant_id FOREIGN KEY(target_tenant_id) REFERENCES iam_tenant (id),
	CONSTRAINT fk_iam_access_context_tenant_id_user_id FOREIGN KEY(tenant_id, user_id) REFERENCES iam_user_account (tenant_id, id)
)ENGINE=InnoDB CHARSET=utf8mb4 ROW_FORMAT=DYNAMIC COLLATE utf8mb4_0900_bin;

CREATE INDEX ix_iam_access_context_open ON iam_access_context (ended_at, ends_at);

CREATE INDEX ix_iam_access_context_target ON iam_access_context (target_tenant_id, id);

CREATE INDEX ix_iam_access_context_tenant ON iam_access_context (tenant_id, id);

-- A single-use link, code, or both, sent to a person; only digests are kept.
CREATE TABLE iam_action_token (
	id BINARY(16) NOT NULL,
	tenant_id BINARY(16) NOT NULL,
	user_id BINARY(16) NOT NULL,
	purpose VARCHAR(32) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NOT NULL,
	token_digest BINARY(32) NOT NULL,
	code_digest BINARY(32),
	browser_digest BINARY(32),
	session_id BINARY(16),
	payload MEDIUMTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
	attempts INTEGER NOT NULL DEFAULT '0',
	created_at DATETIME(6) NOT NULL,
	expires_at DATETIME(6) NOT NULL,
	consumed_at DATETIME(6),
	CONSTRAINT pk_iam_action_token PRIMARY KEY (id),
	CONSTRAINT uq_iam_action_token_token_digest UNIQUE (token_digest),
	CONSTRAINT fk_iam_action_token_tenant_id_user_id FOREIGN KEY(tenant_id, user_id) REFERENCES iam_user_account (tenant_id, id)
)ENGINE=InnoDB CHARSET=utf8mb4 ROW_FORMAT=DYNAMIC COLLATE utf8mb4_0900_bin;

CREATE INDEX ix_iam_action_token_expires_at ON iam_action_token (expires_at);

CREATE INDEX ix_iam_action_token_user ON iam_action_token (tenant_id, user_id, purpose);

-- A browser that a user has signed in from.
CREATE TABLE iam_device (
	id BINARY(16) NOT NULL,
	tenant_id BINARY(16) NOT NULL,
	user_id BINARY(16) NOT NULL,
	browser_digest BINARY(32) NOT NULL,
	name VARCHAR(80) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NOT NULL,
	browser VARCHAR(60) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NOT NULL,
	os VARCHAR(60) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NOT NULL,
	kind VARCHAR(16) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NOT NULL,
	known BOOL NOT NULL,
	first_seen_at DATETIME(6) NOT NULL,
	last_seen_at DATETIME(6) NOT NULL,
	last_ip VARCHAR(45) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
	generation BIGINT NOT NULL DEFAULT '0',
	rotated_at DATETIME(6),
	trusted_until DATETIME(6),
	revoked_at DATETIME(6),
	CONSTRAINT pk_iam_device PRIMARY KEY (id),
	CONSTRAINT uq_iam_device_tenant_id_user_id_browser_digest UNIQUE (tenant_id, user_id, browser_digest),
	CONSTRAINT uq_iam_device_tenant_id_id UNIQUE (tenant_id, id),
	CONSTRAINT fk_iam_device_tenant_id_user_id FOREIGN KEY(tenant_id, user_id) REFERENCES iam_user_account (tenant_id, id)
)ENGINE=InnoDB CHARSET=utf8mb4 ROW_FORMAT=DYNAMIC COLLATE utf8mb4_0900_bin;

CREATE INDEX ix_iam_device_browser ON iam_device (browser_digest, generation);

-- An invitation; it waits until it is accepted or revoked, or until `expires_at`.
CREATE TABLE iam_invitation (
	id BINARY(16) NOT NULL,
	tenant_id BINARY(16) NOT NULL,
	email VARCHAR(254) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NOT NULL,
	open_email VARCHAR(254) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
	open_place BINARY(16) NOT NULL,
	name VARCHAR(120) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NOT NULL,
	language VARCHAR(16) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
	actor_type VARCHAR(24) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NOT NULL,
	roles JSON NOT NULL,
	parent_id BINARY(16),
	token_digest BINARY(32) NOT NULL,
	invited_by BINARY(16),
	created_at DATETIME(6) NOT NULL,
	sent_at DATETIME(6) NOT NULL,
	expires_at DATETIME(6) NOT NULL,
	accepted_at DATETIME(6),
	accepted_by BINARY(16),
	revoked_at DATETIME(6),
	CONSTRAINT pk_iam_invitation PRIMARY KEY (id),
	CONSTRAINT uq_iam_invitation_tenant_id_id UNIQUE (tenant_id, id),
	CONSTRAINT uq_iam_invitation_token_digest UNIQUE (token_digest),
	CONSTRAINT uq_iam_invitation_tenant_id_open_email_open_place UNIQUE (tenant_id, open_email, open_place),
	CONSTRAINT fk_iam_invitation_tenant_id FOREIGN KEY(tenant_id) REFERENCES iam_tenant (id),
	CONSTRAINT fk_iam_invitation_tenant_id_parent_id FOREIGN KEY(tenant_id, parent_id) REFERENCES iam_organization (tenant_id, id),
	CONSTRAINT fk_iam_invitation_tenant_id_accepted_by FOREIGN KEY(tenant_id, accepted_by) REFERENCES iam_user_account (tenant_id, id)
)ENGINE=InnoDB CHARSET=utf8mb4 ROW_FORMAT=DYNAMIC COLLATE utf8mb4_0900_bin;

CREATE INDEX ix_iam_invitation_expires_at ON iam_invitation (expires_at);

-- An enrolled second factor; it counts once `confirmed_at` is set.
CREATE TABLE iam_mfa_method (
	id BINARY(16) NOT NULL,
	tenant_id BINARY(16) NOT NULL,
	user_id BINARY(16) NOT NULL,
	method VARCHAR(24) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NOT NULL,
	name VARCHAR(80) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NOT NULL,
	secret MEDIUMTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
	destination VARCHAR(254) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
	session_id BINARY(16),
	last_step BIGINT,
	created_at DATETIME(6) NOT NULL,
	confirmed_at DATETIME(6),
	last_used_at DATETIME(6),
	CONSTRAINT pk_iam_mfa_method PRIMARY KEY (id),
	CONSTRAINT uq_iam_mfa_method_tenant_id_id UNIQUE (tenant_id, id),
	CONSTRAINT fk_iam_mfa_method_tenant_id_user_id FOREIGN KEY(tenant_id, user_id) REFERENCES iam_user_account (tenant_id, id)
)ENGINE=InnoDB CHARSET=utf8mb4 ROW_FORMAT=DYNAMIC COLLATE utf8mb4_0900_bin;

CREATE INDEX ix_iam_mfa_method_user ON iam_mfa_method (tenant_id, user_id, confirmed_at);

-- A password hash that was in use before, so that it is not taken again.
CREATE TABLE iam_password_history (
	id BINARY(16) NOT NULL,
	tenant_id BINARY(16) NOT NULL,
	user_id BINARY(16) NOT NULL,
	password_hash VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NOT NULL,
	created_at DATETIME(6) NOT NULL,
	CONSTRAINT pk_iam_password_history PRIMARY KEY (id),
	CONSTRAINT fk_iam_password_history_tenant_id_user_id FOREIGN KEY(tenant_id, user_id) REFERENCES iam_user_account (tenant_id, id)
)ENGINE=InnoDB CHARSET=utf8mb4 ROW_FORMAT=DYNAMIC COLLATE utf8mb4_0900_bin;

CREATE INDEX ix_iam_password_history_user ON iam_password_history (tenant_id, user_id, id);

-- A single-use recovery code, kept as a keyed digest.
CREATE TABLE iam_recovery_code (
	id BINARY(16) NOT NULL,
	tenant_id BINARY(16) NOT NULL,
	user_id BINARY(16) NOT NULL,
	code_digest BINARY(32) NOT NULL,
	digest_key MEDIUMTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NOT NULL,
	created_at DATETIME(6) NOT NULL,
	confirmed_at DATETIME(6),
	used_at DATETIME(6),
	CONSTRAINT pk_iam_recovery_code PRIMARY KEY (id),
	CONSTRAINT uq_iam_recovery_code_tenant_id_user_id_code_digest UNIQUE (tenant_id, user_id, code_digest),
	CONSTRAINT fk_iam_recovery_code_tenant_id_user_id FOREIGN KEY(tenant_id, user_id) REFERENCES iam_user_account (tenant_id, id)
)ENGINE=InnoDB CHARSET=utf8mb4 ROW_FORMAT=DYNAMIC COLLATE utf8mb4_0900_bin;

-- A person's way back in once every second factor is lost (I1); only digests of its links.
CREATE TABLE iam_recovery_request (
	id BINARY(16) NOT NULL,
	tenant_id BINARY(16) NOT NULL,
	user_id BINARY(16) NOT NULL,
	status VARCHAR(16) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NOT NULL,
	opened_by BINARY(16),
	reason VARCHAR(200) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NOT NULL,
	email_proved_at DATETIME(6),
	phone_proved_at DATETIME(6),
	decided_by BINARY(16),
	decided_at DATETIME(6),
	decision_reason VARCHAR(200) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NOT NULL,
	cancel_digest BINARY(32),
	continue_digest BINARY(32),
	created_at DATETIME(6) NOT NULL,
	available_at DATETIME(6),
	expires_at DATETIME(6) NOT NULL,
	closed_at DATETIME(6),
	ip VARCHAR(45) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
	user_agent VARCHAR(400) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
	CONSTRAINT pk_iam_recovery_request PRIMARY KEY (id),
	CONSTRAINT uq_iam_recovery_request_cancel_digest UNIQUE (cancel_digest),
	CONSTRAINT uq_iam_recovery_request_continue_digest UNIQUE (continue_digest),
	CONSTRAINT fk_iam_recovery_request_tenant_id_user_id FOREIGN KEY(tenant_id, user_id) REFERENCES iam_user_account (tenant_id, id)
)ENGINE=InnoDB CHARSET=utf8mb4 ROW_FORMAT=DYNAMIC COLLATE utf8mb4_0900_bin;

CREATE INDEX ix_iam_recovery_request_expires_at ON iam_recovery_request (expires_at);

CREATE INDEX ix_iam_recovery_request_status ON iam_recovery_request (tenant_id, status, id);

CREATE INDEX ix_iam_recovery_request_user ON iam_recovery_request (tenant_id, user_id, status);

-- One trip to a provider and back: state by digest, used up once, bound to a browser.
CREATE TABLE iam_sso_flow (
	id BINARY(16) NOT NULL,
	tenant_id BINARY(16) NOT NULL,
	state_digest BINARY(32) NOT NULL,
	browser_digest BINARY(32) NOT NULL,
	connection_id BINARY(16) NOT NULL,
	purpose VARCHAR(16) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NOT NULL,
	step_up_purpose VARCHAR(48) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
	user_id BINARY(16),
	session_id BINARY(16),
	nonce_digest BINARY(32) NOT NULL,
	code_verifier MEDIUMTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NOT NULL,
	answer MEDIUMTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
	answered_at DATETIME(6),
	remember BOOL NOT NULL,
	next_url VARCHAR(1024) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
	created_at DATETIME(6) NOT NULL,
	expires_at DATETIME(6) NOT NULL,
	consumed_at DATETIME(6),
	CONSTRAINT pk_iam_sso_flow PRIMARY KEY (id),
	CONSTRAINT uq_iam_sso_flow_state_digest UNIQUE (state_digest),
	CONSTRAINT fk_iam_sso_flow_tenant_id_user_id FOREIGN KEY(tenant_id, user_id) REFERENCES iam_user_account (tenant_id, id),
	CONSTRAINT fk_iam_sso_flow_tenant_id_connection_id FOREIGN KEY(tenant_id, connection_id) REFERENCES iam_sso_connection (tenant_id, id) ON DELETE CASCADE
)ENGINE=InnoDB CHARSET=utf8mb4 ROW_FORMAT=DYNAMIC COLLATE utf8mb4_0900_bin;

CREATE INDEX ix_iam_sso_flow_browser ON iam_sso_flow (tenant_id, browser_digest);

CREATE INDEX ix_iam_sso_flow_expires_at ON iam_sso_flow (expires_at);

CREATE INDEX ix_iam_sso_flow_user ON iam_sso_flow (tenant_id, user_id);

-- Who a person is at a provider: issuer and subject, never an address (AT-192, AT-196).
CREATE TABLE iam_user_identity (
	id BINARY(16) NOT NULL,
	tenant_id BINARY(16) NOT NULL,
	user_id BINARY(16) NOT NULL,
	connection_id BINARY(16) NOT NULL,
	issuer VARCHAR(500) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NOT NULL,
	subject VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NOT NULL,
	identity_digest BINARY(32) NOT NULL,
	email VARCHAR(254) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
	email_verified BOOL NOT NULL,
	label VARCHAR(120) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NOT NULL,
	linked_at DATETIME(6) NOT NULL,
	linked_by VARCHAR(16) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NOT NULL,
	last_login_at DATETIME(6),
	CONSTRAINT pk_iam_user_identity PRIMARY KEY (id),
	CONSTRAINT uq_iam_user_identity_tenant_id_identity_digest UNIQUE (tenant_id, identity_digest),
	CONSTRAINT uq_iam_user_identity_tenant_id_id UNIQUE (tenant_id, id),
	CONSTRAINT fk_iam_user_identity_tenant_id_user_id FOREIGN KEY(tenant_id, user_id) REFERENCES iam_user_account (tenant_id, id),
	CONSTRAINT fk_iam_user_identity_tenant_id_connection_id FOREIGN KEY(tenant_id, connection_id) REFERENCES iam_sso_connection (tenant_id, id) ON DELETE CASCADE
)ENGINE=InnoDB CHARSET=utf8mb4 ROW_FORMAT=DYNAMIC COLLATE utf8mb4_0900_bin;

CREATE INDEX ix_iam_user_identity_user ON iam_user_identity (tenant_id, user_id);

-- A role held by a user, in a scope, perhaps until a time.
CREATE TABLE iam_user_role (
	id BINARY(16) NOT NULL,
	tenant_id BINARY(16) NOT NULL,
	user_id BINARY(16) NOT NULL,
	role_id BINARY(16) NOT NULL,
	scope VARCHAR(16) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NOT NULL,
	organization_id BINARY(16),
	expires_at DATETIME(6),
	connection_id BINARY(16),
	assigned_by BINARY(16),
	assigned_at DATETIME(6) NOT NULL,
	CONSTRAINT pk_iam_user_role PRIMARY KEY (id),
	CONSTRAINT uq_iam_user_role_tenant_id_user_id_role_id UNIQUE (tenant_id, user_id, role_id),
	CONSTRAINT fk_iam_user_role_tenant_id_role_id FOREIGN KEY(tenant_id, role_id) REFERENCES iam_role (tenant_id, id),
	CONSTRAINT fk_iam_user_role_tenant_id_user_id FOREIGN KEY(tenant_id, user_id) REFERENCES iam_user_account (tenant_id, id),
	CONSTRAINT fk_iam_user_role_tenant_id_organization_id FOREIGN KEY(tenant_id, organization_id) REFERENCES iam_organization (tenant_id, id)
)ENGINE=InnoDB CHARSET=utf8mb4 ROW_FORMAT=DYNAMIC COLLATE utf8mb4_0900_bin;

CREATE INDEX ix_iam_user_role_role ON iam_user_role (tenant_id, role_id);

-- A challenge of one WebAuthn ceremony, by digest: used up once, before anything is checked.
CREATE TABLE iam_webauthn_challenge (
	id BINARY(16) NOT NULL,
	tenant_id BINARY(16) NOT NULL,
	challenge_digest BINARY(32) NOT NULL,
	browser_digest BINARY(32) NOT NULL,
	user_id BINARY(16),
	session_id BINARY(16),
	purpose VARCHAR(48) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NOT NULL,
	created_at DATETIME(6) NOT NULL,
	expires_at DATETIME(6) NOT NULL,
	consumed_at DATETIME(6),
	CONSTRAINT pk_iam_webauthn_challenge PRIMARY KEY (id),
	CONSTRAINT uq_iam_webauthn_challenge_challenge_digest UNIQUE (challenge_digest),
	CONSTRAINT fk_iam_webauthn_challenge_tenant_id_user_id FOREIGN KEY(tenant_id, user_id) REFERENCES iam_user_account (tenant_id, id)
)ENGINE=InnoDB CHARSET=utf8mb4 ROW_FORMAT=DYNAMIC COLLATE utf8mb4_0900_bin;

CREATE INDEX ix_iam_webauthn_challenge_browser ON iam_webauthn_challenge (tenant_id, browser_digest);

CREATE INDEX ix_iam_webauthn_challenge_expires_at ON iam_webauthn_challenge (expires_at);

CREATE INDEX ix_iam_webauthn_challenge_user ON iam_webauthn_challenge (tenant_id, user_id);

-- A browser session, or a sign-in that is not complete yet (state `pending`).
CREATE TABLE iam_auth_session (
	id BINARY(16) NOT NULL,
	tenant_id BINARY(16) NOT NULL,
	user_id BINARY(16) NOT NULL,
	device_id BINARY(16),
	token_digest BINARY(32) NOT NULL,
	state VARCHAR(16) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NOT NULL,
	stage VARCHAR(16) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NOT NULL,
	access_context_id BINARY(16),
	remember BOOL NOT NULL,
	next_url VARCHAR(1024) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
	amr JSON NOT NULL,
	acr VARCHAR(16) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NOT NULL,
	proofs JSON NOT NULL,
	login_time DATETIME(6) NOT NULL,
	auth_time DATETIME(6) NOT NULL,
	mfa_time DATETIME(6),
	last_activity_at DATETIME(6) NOT NULL,
	idle_seconds INTEGER NOT NULL,
	expires_at DATETIME(6) NOT NULL,
	logout_time DATETIME(6),
	revoke_reason VARCHAR(32) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
	ip VARCHAR(45) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
	user_agent VARCHAR(400) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
	CONSTRAINT pk_iam_auth_session PRIMARY KEY (id),
	CONSTRAINT uq_iam_auth_session_token_digest UNIQUE (token_digest),
	CONSTRAINT uq_iam_auth_session_tenant_id_id UNIQUE (tenant_id, id),
	CONSTRAINT fk_iam_auth_session_tenant_id_device_id FOREIGN KEY(tenant_id, device_id) REFERENCES iam_device (tenant_id, id),
	CONSTRAINT fk_iam_auth_session_tenant_id_user_id FOREIGN KEY(tenant_id, user_id) REFERENCES iam_user_account (tenant_id, id)
)ENGINE=InnoDB CHARSET=utf8mb4 ROW_FORMAT=DYNAMIC COLLATE utf8mb4_0900_bin;

CREATE INDEX ix_iam_auth_session_expires_at ON iam_auth_session (expires_at);

CREATE INDEX ix_iam_auth_session_state ON iam_auth_session (tenant_id, state, id);

CREATE INDEX ix_iam_auth_session_user ON iam_auth_session (tenant_id, user_id, state, id);

-- A request for a second factor: user, session, purpose and, where sent, a code.
CREATE TABLE iam_mfa_challenge (
	id BINARY(16) NOT NULL,
	tenant_id BINARY(16) NOT NULL,
	user_id BINARY(16) NOT NULL,
	session_id BINARY(16),
	mfa_method_id BINARY(16),
	method VARCHAR(24) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NOT NULL,
	purpose VARCHAR(48) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NOT NULL,
	code_digest BINARY(32),
	outbox_id BINARY(16),
	attempts INTEGER NOT NULL,
	created_at DATETIME(6) NOT NULL,
	expires_at DATETIME(6) NOT NULL,
	consumed_at DATETIME(6),
	superseded_at DATETIME(6),
	CONSTRAINT pk_iam_mfa_challenge PRIMARY KEY (id),
	CONSTRAINT fk_iam_mfa_challenge_tenant_id_mfa_method_id FOREIGN KEY(tenant_id, mfa_method_id) REFERENCES iam_mfa_method (tenant_id, id) ON DELETE CASCADE,
	CONSTRAINT fk_iam_mfa_challenge_tenant_id_user_id FOREIGN KEY(tenant_id, user_id) REFERENCES iam_user_account (tenant_id, id)
)ENGINE=InnoDB CHARSET=utf8mb4 ROW_FORMAT=DYNAMIC COLLATE utf8mb4_0900_bin;

CREATE INDEX ix_iam_mfa_challenge_expires_at ON iam_mfa_challenge (expires_at);

CREATE INDEX ix_iam_mfa_challenge_user ON iam_mfa_challenge (tenant_id, user_id, purpose, consumed_at);

-- The public key of a passkey or security key; its factor row carries name and dates.
CREATE TABLE iam_webauthn_credential (
	id BINARY(16) NOT NULL,
	tenant_id BINARY(16) NOT NULL,
	user_id BINARY(16) NOT NULL,
	mfa_method_id BINARY(16) NOT NULL,
	credential_digest BINARY(32) NOT NULL,
	credential_id VARBINARY(1023) NOT NULL,
	public_key VARBINARY(4096) NOT NULL,
	algorithm INTEGER NOT NULL,
	sign_count BIGINT NOT NULL,
	aaguid BINARY(16) NOT NULL,
	transports JSON NOT NULL,
	discoverable BOOL,
	user_verified BOOL NOT NULL,
	backup_eligible BOOL NOT NULL,
	backup_state BOOL NOT NULL,
	attestation_format VARCHAR(32) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NOT NULL,
	attestation_trusted BOOL NOT NULL,
	clone_suspected_at DATETIME(6),
	last_used_at DATETIME(6),
	CONSTRAINT pk_iam_webauthn_credential PRIMARY KEY (id),
	CONSTRAINT uq_iam_webauthn_credential_credential_digest UNIQUE (credential_digest),
	CONSTRAINT uq_iam_webauthn_credential_tenant_id_mfa_method_id UNIQUE (tenant_id, mfa_method_id),
	CONSTRAINT fk_iam_webauthn_credential_tenant_id_mfa_method_id FOREIGN KEY(tenant_id, mfa_method_id) REFERENCES iam_mfa_method (tenant_id, id) ON DELETE CASCADE,
	CONSTRAINT fk_iam_webauthn_credential_tenant_id_user_id FOREIGN KEY(tenant_id, user_id) REFERENCES iam_user_account (tenant_id, id)
)ENGINE=InnoDB CHARSET=utf8mb4 ROW_FORMAT=DYNAMIC COLLATE utf8mb4_0900_bin;

CREATE INDEX ix_iam_webauthn_credential_user ON iam_webauthn_credential (tenant_id, user_id);

-- What a provider knows of a session of ours, for logout on either side.
CREATE TABLE iam_sso_session (
	id BINARY(16) NOT NULL,
	tenant_id BINARY(16) NOT NULL,
	user_id BINARY(16) NOT NULL,
	session_id BINARY(16) NOT NULL,
	identity_id BINARY(16) NOT NULL,
	connection_id BINARY(16) NOT NULL,
	sid_digest BINARY(32),
	id_token MEDIUMTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
	created_at DATETIME(6) NOT NULL,
	CONSTRAINT pk_iam_sso_session PRIMARY KEY (id),
	CONSTRAINT uq_iam_sso_session_tenant_id_session_id UNIQUE (tenant_id, session_id),
	CONSTRAINT fk_iam_sso_session_tenant_id_session_id FOREIGN KEY(tenant_id, session_id) REFERENCES iam_auth_session (tenant_id, id) ON DELETE CASCADE,
	CONSTRAINT fk_iam_sso_session_tenant_id_identity_id FOREIGN KEY(tenant_id, identity_id) REFERENCES iam_user_identity (tenant_id, id) ON DELETE CASCADE,
	CONSTRAINT fk_iam_sso_session_tenant_id_user_id FOREIGN KEY(tenant_id, user_id) REFERENCES iam_user_account (tenant_id, id),
	CONSTRAINT fk_iam_sso_session_tenant_id_connection_id FOREIGN KEY(tenant_id, connection_id) REFERENCES iam_sso_connection (tenant_id, id) ON DELETE CASCADE
)ENGINE=InnoDB CHARSET=utf8mb4 ROW_FORMAT=DYNAMIC COLLATE utf8mb4_0900_bin;

CREATE INDEX ix_iam_sso_session_identity ON iam_sso_session (tenant_id, identity_id);

CREATE INDEX ix_iam_sso_session_sid ON iam_sso_session (tenant_id, sid_digest);

CREATE INDEX ix_iam_sso_session_user ON iam_sso_session (tenant_id, user_id);

-- The version this file stands at, so that `flask iam init-db` continues from here.
CREATE TABLE iam_alembic_version (
	version_num VARCHAR(32) NOT NULL,
	CONSTRAINT iam_alembic_version_pkc PRIMARY KEY (version_num)
);

INSERT INTO iam_alembic_version (version_num) VALUES ('0004_audit_proofs_and_tenants');
