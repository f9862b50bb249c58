BEGIN TRANSACTION;
CREATE TABLE accounts (
	id INTEGER NOT NULL, 
	name VARCHAR(64) NOT NULL, 
	salt BLOB, 
	password_hash BLOB, 
	created_at BIGINT NOT NULL, 
	PRIMARY KEY (id), 
	UNIQUE (name)
);
INSERT INTO "accounts" VALUES(1,'operator',NULL,NULL,1539684200);
INSERT INTO "accounts" VALUES(2,'ann',X'C153E5680627E55B9199B942C8E0B95E',X'6C89265823EDD003AD3BEA04D436BE11E2315DF0FC0C73C85ABA3EAC1946D91C',1539684200);
CREATE TABLE audit (
	id INTEGER NOT NULL, 
	at BIGINT NOT NULL, 
	action VARCHAR(64) NOT NULL, 
	subject VARCHAR(128) NOT NULL, 
	detail VARCHAR(256) NOT NULL, 
	PRIMARY KEY (id)
);
INSERT INTO "audit" VALUES(1,1539684200,'account.create','operator','');
INSERT INTO "audit" VALUES(2,1539684200,'product.create','bd77df78668a6fe7','lamp');
INSERT INTO "audit" VALUES(3,1539684200,'device.create','70b2f43a6e3ba8f4','EF4016D6658466CA3E3610');
INSERT INTO "audit" VALUES(4,1539684200,'device.activate','70b2f43a6e3ba8f4','EF4016D6658466CA3E3610');
INSERT INTO "audit" VALUES(5,1539684200,'device.create','c7cd9fb169dcf0fe','SN 2');
INSERT INTO "audit" VALUES(6,1539684200,'firmware.upload','bd77df78668a6fe7','app:2.0.0');
INSERT INTO "audit" VALUES(7,1539684200,'account.create','ann','');
INSERT INTO "audit" VALUES(8,1539684200,'task.create','1','bd77df78668a6fe7 1.1');
CREATE TABLE devices (
	id INTEGER NOT NULL, 
	product_ref INTEGER NOT NULL, 
	sn VARCHAR(32) NOT NULL, 
	device_id VARCHAR(16) NOT NULL, 
	device_key VARCHAR(32) NOT NULL, 
	name VARCHAR(64) NOT NULL, 
	mac VARCHAR(32) NOT NULL, 
	description VARCHAR(512) NOT NULL, 
	state VARCHAR(16) NOT NULL, 
	activated_at BIGINT, 
	online BOOLEAN NOT NULL, 
	last_login_at BIGINT, 
	last_login_ip VARCHAR(64), 
	version VARCHAR(64), 
	sent_task INTEGER, 
	created_at BIGINT NOT NULL, 
	updated_at BIGINT NOT NULL, 
	PRIMARY KEY (id), 
	UNIQUE (product_ref, sn), 
	FOREIGN KEY(product_ref) REFERENCES products (id), 
	UNIQUE (device_id)
);
INSERT INTO "devices" VALUES(1,1,'EF4016D6658466CA3E3610','70b2f43a6e3ba8f4','6416739a774ee1c3805f60c05edc693f','','','','activated',1539684200,1,1539684200,NULL,'1.0',1,1539684200,1539684200);
INSERT INTO "devices" VALUES(2,1,'SN 2','c7cd9fb169dcf0fe','b6109d05520e26be2327d7b586a58398','hall','','','inactive',NULL,0,NULL,NULL,NULL,NULL,1539684200,1539684200);
CREATE TABLE downloads (
	token VARCHAR(32) NOT NULL, 
	device_ref INTEGER NOT NULL, 
	firmware_ref INTEGER NOT NULL, 
	PRIMARY KEY (token), 
	UNIQUE (device_ref, firmware_ref), 
	FOREIGN KEY(device_ref) REFERENCES devices (id), 
	FOREIGN KEY(firmware_ref) REFERENCES firmware (id)
);
INSERT INTO "downloads" VALUES('-4IZRcc8NfQ4I12_kOxUnw',1,1);
CREATE TABLE firmware (
	id INTEGER NOT NULL, 
	product_ref INTEGER NOT NULL, 
	name VARCHAR(16) NOT NULL, 
	version VARCHAR(24) NOT NULL, 
	file_size INTEGER NOT NULL, 
	raw_size BIGINT NOT NULL, 
	sha256 VARCHAR(64) NOT NULL, 
	timestamp BIGINT NOT NULL, 
	created_at BIGINT NOT NULL, 
	PRIMARY KEY (id), 
	UNIQUE (product_ref, sha256), 
	FOREIGN KEY(product_ref) REFERENCES products (id)
);
INSERT INTO "firmware" VALUES(1,1,'app','2.0.0',160,64,'70cff3acdbeb1f75b6c7bc429b607b0223f97e57f05528da5a4998ca54c2d639',1529386280,1539684200);
CREATE TABLE products (
	id INTEGER NOT NULL, 
	account_id INTEGER NOT NULL, 
	product_id VARCHAR(16) NOT NULL, 
	product_key VARCHAR(36) NOT NULL, 
	name VARCHAR(64) NOT NULL, 
	kind VARCHAR(64) NOT NULL, 
	model VARCHAR(64) NOT NULL, 
	connection VARCHAR(64) NOT NULL, 
	description VARCHAR(512) NOT NULL, 
	device_limit INTEGER NOT NULL, 
	published BOOLEAN NOT NULL, 
	created_at BIGINT NOT NULL, 
	updated_at BIGINT NOT NULL, 
	PRIMARY KEY (id), 
	UNIQUE (account_id, name), 
	FOREIGN KEY(account_id) REFERENCES accounts (id), 
	UNIQUE (product_id)
);
INSERT INTO "products" VALUES(1,1,'bd77df78668a6fe7','cceae484-319f-40a4-a620-899ac8287def','lamp','smart home','','','first ''version''',5,0,1539684200,1539684200);
CREATE TABLE settings (
	"key" VARCHAR(64) NOT NULL, 
	value VARCHAR(512) NOT NULL, 
	PRIMARY KEY ("key")
);
INSERT INTO "settings" VALUES('schema_version','1');
CREATE TABLE task_devices (
	task_ref INTEGER NOT NULL, 
	device_ref INTEGER NOT NULL, 
	state VARCHAR(16) NOT NULL, 
	sent_at BIGINT, 
	done_at BIGINT, 
	updated_at BIGINT NOT NULL, 
	PRIMARY KEY (task_ref, device_ref), 
	FOREIGN KEY(task_ref) REFERENCES tasks (id), 
	FOREIGN KEY(device_ref) REFERENCES devices (id)
);
INSERT INTO "task_devices" VALUES(1,1,'downloading',1539684200,NULL,1539684200);
INSERT INTO "task_devices" VALUES(1,2,'waiting',NULL,NULL,1539684200);
CREATE TABLE task_firmware (
	task_ref INTEGER NOT NULL, 
	position INTEGER NOT NULL, 
	firmware_ref INTEGER NOT NULL, 
	PRIMARY KEY (task_ref, position), 
	FOREIGN KEY(task_ref) REFERENCES tasks (id), 
	FOREIGN KEY(firmware_ref) REFERENCES firmware (id)
);
INSERT INTO "task_firmware" VALUES(1,1,1);
CREATE TABLE tasks (
	id INTEGER NOT NULL, 
	product_ref INTEGER NOT NULL, 
	version VARCHAR(23) NOT NULL, 
	mode INTEGER NOT NULL, 
	created_at BIGINT NOT NULL, 
	PRIMARY KEY (id), 
	FOREIGN KEY(product_ref) REFERENCES products (id)
);
INSERT INTO "tasks" VALUES(1,1,'1.1',1,1539684200);
CREATE TABLE transfers (
	id INTEGER NOT NULL, 
	device_ref INTEGER NOT NULL, 
	firmware_ref INTEGER NOT NULL, 
	method VARCHAR(8) NOT NULL, 
	status INTEGER NOT NULL, 
	first_byte INTEGER NOT NULL, 
	bytes_sent INTEGER NOT NULL, 
	outcome VARCHAR(16) NOT NULL, 
	started_at BIGINT NOT NULL, 
	finished_at BIGINT, 
	PRIMARY KEY (id), 
	FOREIGN KEY(device_ref) REFERENCES devices (id), 
	FOREIGN KEY(firmware_ref) REFERENCES firmware (id)
);
INSERT INTO "transfers" VALUES(1,1,1,'GET',200,0,128,'complete',1539684200,1539684200);
CREATE INDEX ix_products_name ON products (name);
CREATE INDEX ix_devices_sn ON devices (sn);
CREATE INDEX ix_task_devices_device_ref ON task_devices (device_ref);
CREATE INDEX ix_transfers_outcome ON transfers (outcome);
CREATE INDEX ix_transfers_device_ref ON transfers (device_ref);
COMMIT;
