BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('v3.2.0.a');
CREATE TABLE studies (
	study_id INTEGER NOT NULL, 
	study_name VARCHAR(512) NOT NULL, 
	PRIMARY KEY (study_id)
);
INSERT INTO "studies" VALUES(1,'varied');
CREATE TABLE study_directions (
	study_direction_id INTEGER NOT NULL, 
	direction VARCHAR(8) NOT NULL, 
	study_id INTEGER NOT NULL, 
	objective INTEGER NOT NULL, 
	PRIMARY KEY (study_direction_id), 
	UNIQUE (study_id, objective), 
	FOREIGN KEY(study_id) REFERENCES studies (study_id)
);
INSERT INTO "study_directions" VALUES(1,'MAXIMIZE',1,0);
INSERT INTO "study_directions" VALUES(2,'MINIMIZE',1,1);
CREATE TABLE study_system_attributes (
	study_system_attribute_id INTEGER NOT NULL, 
	study_id INTEGER, 
	"key" VARCHAR(512), 
	value_json TEXT, 
	PRIMARY KEY (study_system_attribute_id), 
	UNIQUE (study_id, "key"), 
	FOREIGN KEY(study_id) REFERENCES studies (study_id)
);
CREATE TABLE study_user_attributes (
	study_user_attribute_id INTEGER NOT NULL, 
	study_id INTEGER, 
	"key" VARCHAR(512), 
	value_json TEXT, 
	PRIMARY KEY (study_user_attribute_id), 
	UNIQUE (study_id, "key"), 
	FOREIGN KEY(study_id) REFERENCES studies (study_id)
);
INSERT INTO "study_user_attributes" VALUES(1,1,'identity','{"name": "varied", "model": "bundled-small", "task": "scenes", "search": {"steps": 24, "batch_size": 16, "search_questions": 256, "eval_questions": 128, "sizes": true, "eval_every": 6}, "space": {"budget": {"float": [0.12, 0.4], "log": true}, "selector": {"choice": ["cover", "score"]}, "steer": {"int": [0, 8]}, "ease": {"float": [1.0, 3.0], "when": {"selector": ["cover"]}}}}');
INSERT INTO "study_user_attributes" VALUES(2,1,'uid','"acc04f3ae7e7461b80528fb559f527d5"');
INSERT INTO "study_user_attributes" VALUES(3,1,'identity_digest','"17b3eb1a28106ee0"');
CREATE TABLE trial_heartbeats (
	trial_heartbeat_id INTEGER NOT NULL, 
	trial_id INTEGER NOT NULL, 
	heartbeat DATETIME NOT NULL, 
	PRIMARY KEY (trial_heartbeat_id), 
	UNIQUE (trial_id), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
CREATE TABLE trial_intermediate_values (
	trial_intermediate_value_id INTEGER NOT NULL, 
	trial_id INTEGER NOT NULL, 
	step INTEGER NOT NULL, 
	intermediate_value FLOAT, 
	intermediate_value_type VARCHAR(7) NOT NULL, 
	PRIMARY KEY (trial_intermediate_value_id), 
	UNIQUE (trial_id, step), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
CREATE TABLE trial_params (
	param_id INTEGER NOT NULL, 
	trial_id INTEGER, 
	param_name VARCHAR(512), 
	param_value FLOAT, 
	distribution_json TEXT, 
	PRIMARY KEY (param_id), 
	UNIQUE (trial_id, param_name), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
INSERT INTO "trial_params" VALUES(1,1,'budget',2.32906582143096618775e-01,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.12, "high": 0.4, "log": true}}');
INSERT INTO "trial_params" VALUES(2,1,'selector',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["cover", "score"]}}');
INSERT INTO "trial_params" VALUES(3,1,'steer',4.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 0, "high": 8}}');
INSERT INTO "trial_params" VALUES(4,1,'ease',2.78589390869530939554e+00,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 1.0, "high": 3.0, "log": false}}');
INSERT INTO "trial_params" VALUES(5,2,'budget',3.84432941735291411333e-01,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.12, "high": 0.4, "log": true}}');
INSERT INTO "trial_params" VALUES(6,2,'selector',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["cover", "score"]}}');
INSERT INTO "trial_params" VALUES(7,2,'steer',6.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 0, "high": 8}}');
INSERT INTO "trial_params" VALUES(8,3,'budget',1.56767761409319139609e-01,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.12, "high": 0.4, "log": true}}');
INSERT INTO "trial_params" VALUES(9,3,'selector',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["cover", "score"]}}');
INSERT INTO "trial_params" VALUES(10,3,'steer',8.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 0, "high": 8}}');
INSERT INTO "trial_params" VALUES(11,3,'ease',1.97682237758965828611e+00,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 1.0, "high": 3.0, "log": false}}');
INSERT INTO "trial_params" VALUES(12,4,'budget',3.51591884239660423805e-01,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.12, "high": 0.4, "log": true}}');
INSERT INTO "trial_params" VALUES(13,4,'selector',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["cover", "score"]}}');
INSERT INTO "trial_params" VALUES(14,4,'steer',0.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 0, "high": 8}}');
CREATE TABLE trial_system_attributes (
	trial_system_attribute_id INTEGER NOT NULL, 
	trial_id INTEGER, 
	"key" VARCHAR(512), 
	value_json TEXT, 
	PRIMARY KEY (trial_system_attribute_id), 
	UNIQUE (trial_id, "key"), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
INSERT INTO "trial_system_attributes" VALUES(1,1,'constraints:compute_ratio - budget','-0.00232906582143097');
INSERT INTO "trial_system_attributes" VALUES(2,2,'constraints:compute_ratio - budget','-0.0038443294173529097');
INSERT INTO "trial_system_attributes" VALUES(3,3,'constraints:compute_ratio - budget','-0.0015676776140931825');
INSERT INTO "trial_system_attributes" VALUES(4,5,'fixed_params','{"selector": "cover", "steer": 5, "budget": 0.2, "ease": 2.5}');
CREATE TABLE trial_user_attributes (
	trial_user_attribute_id INTEGER NOT NULL, 
	trial_id INTEGER, 
	"key" VARCHAR(512), 
	value_json TEXT, 
	PRIMARY KEY (trial_user_attribute_id), 
	UNIQUE (trial_id, "key"), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
INSERT INTO "trial_user_attributes" VALUES(1,1,'budget','0.23290658214309662');
INSERT INTO "trial_user_attributes" VALUES(2,1,'ray_trial_id','"ray0"');
INSERT INTO "trial_user_attributes" VALUES(3,1,'measured','{"accuracy": 0.8, "compute_ratio": 0.23057751632166565, "mean_tokens": 30.0, "tokens_left": 20, "relaxed_accuracy": 0.8, "samples": 100, "seconds": 2.0}');
INSERT INTO "trial_user_attributes" VALUES(4,1,'operator','"{\n  \"schema_version\": 1,\n  \"name\": \"fastv-37.33\",\n  \"target\": {\n    \"layers\": 6,\n    \"grid\": [\n      12,\n      12\n    ],\n    \"model\": \"bundled-small\",\n    \"vision_layers\": 3\n  },\n  \"image\": null,\n  \"sites\": [\n    {\n      \"place\": \"decoder\",\n      \"layer\": 1,\n      \"keep\": 16,\n      \"selector\": \"score\",\n      \"important\": 0,\n      \"score\": {\n        \"last_text\": 1.0\n      },\n      \"probe\": [],\n      \"steering\": null,\n      \"spread\": 0.0,\n      \"similarity\": \"hidden\",\n      \"seed\": 0,\n      \"transfer\": {\n        \"gamma\": 0.0,\n        \"tau\": 0.0,\n        \"nu\": 1.0,\n        \"mu\": 0.0,\n        \"source\": \"ones\",\n        \"support\": {\n          \"kind\": \"all\",\n          \"size\": null\n        },\n        \"by\": \"source\",\n        \"to\": \"all\",\n        \"among\": 1.0,\n        \"metric\": \"cosine\"\n      },\n      \"summary\": false,\n      \"rho\": 0.0,\n      \"beta\": 0.0,\n      \"positions\": \"keep\"\n    }\n  ],\n  \"provenance\": {\n    \"design\": \"fastv\"\n  },\n  \"relative\": [\n    {\n      \"place\": \"decoder\",\n      \"depth\": 0.16666666666666666,\n      \"keep\": 0.1111111111111111\n    }\n  ]\n}\n"');
INSERT INTO "trial_user_attributes" VALUES(5,1,'regime','"prune"');
INSERT INTO "trial_user_attributes" VALUES(6,2,'budget','0.3844329417352914');
INSERT INTO "trial_user_attributes" VALUES(7,2,'ray_trial_id','"ray1"');
INSERT INTO "trial_user_attributes" VALUES(8,2,'measured','{"accuracy": 0.8200000000000001, "compute_ratio": 0.3805886123179385, "mean_tokens": 30.0, "tokens_left": 20, "relaxed_accuracy": 0.8, "samples": 100, "seconds": 2.0}');
INSERT INTO "trial_user_attributes" VALUES(9,2,'operator','"{\n  \"schema_version\": 1,\n  \"name\": \"fastv-37.33\",\n  \"target\": {\n    \"layers\": 6,\n    \"grid\": [\n      12,\n      12\n    ],\n    \"model\": \"bundled-small\",\n    \"vision_layers\": 3\n  },\n  \"image\": null,\n  \"sites\": [\n    {\n      \"place\": \"decoder\",\n      \"layer\": 1,\n      \"keep\": 16,\n      \"selector\": \"score\",\n      \"important\": 0,\n      \"score\": {\n        \"last_text\": 1.0\n      },\n      \"probe\": [],\n      \"steering\": null,\n      \"spread\": 0.0,\n      \"similarity\": \"hidden\",\n      \"seed\": 0,\n      \"transfer\": {\n        \"gamma\": 0.0,\n        \"tau\": 0.0,\n        \"nu\": 1.0,\n        \"mu\": 0.0,\n        \"source\": \"ones\",\n        \"support\": {\n          \"kind\": \"all\",\n          \"size\": null\n        },\n        \"by\": \"source\",\n        \"to\": \"all\",\n        \"among\": 1.0,\n        \"metric\": \"cosine\"\n      },\n      \"summary\": false,\n      \"rho\": 0.0,\n      \"beta\": 0.0,\n      \"positions\": \"keep\"\n    }\n  ],\n  \"provenance\": {\n    \"design\": \"fastv\"\n  },\n  \"relative\": [\n    {\n      \"place\": \"decoder\",\n      \"depth\": 0.16666666666666666,\n      \"keep\": 0.1111111111111111\n    }\n  ]\n}\n"');
INSERT INTO "trial_user_attributes" VALUES(10,2,'regime','"prune"');
INSERT INTO "trial_user_attributes" VALUES(11,3,'budget','0.15676776140931914');
INSERT INTO "trial_user_attributes" VALUES(12,3,'ray_trial_id','"ray2"');
INSERT INTO "trial_user_attributes" VALUES(13,3,'measured','{"accuracy": 0.8400000000000001, "compute_ratio": 0.15520008379522596, "mean_tokens": 30.0, "tokens_left": 20, "relaxed_accuracy": 0.8, "samples": 100, "seconds": 2.0}');
INSERT INTO "trial_user_attributes" VALUES(14,3,'operator','"{\n  \"schema_version\": 1,\n  \"name\": \"fastv-37.33\",\n  \"target\": {\n    \"layers\": 6,\n    \"grid\": [\n      12,\n      12\n    ],\n    \"model\": \"bundled-small\",\n    \"vision_layers\": 3\n  },\n  \"image\": null,\n  \"sites\": [\n    {\n      \"place\": \"decoder\",\n      \"layer\": 1,\n      \"keep\": 16,\n      \"selector\": \"score\",\n      \"important\": 0,\n      \"score\": {\n        \"last_text\": 1.0\n      },\n      \"probe\": [],\n      \"steering\": null,\n      \"spread\": 0.0,\n      \"similarity\": \"hidden\",\n      \"seed\": 0,\n      \"transfer\": {\n        \"gamma\": 0.0,\n        \"tau\": 0.0,\n        \"nu\": 1.0,\n        \"mu\": 0.0,\n        \"source\": \"ones\",\n        \"support\": {\n          \"kind\": \"all\",\n          \"size\": null\n        },\n        \"by\": \"source\",\n        \"to\": \"all\",\n        \"among\": 1.0,\n        \"metric\": \"cosine\"\n      },\n      \"summary\": false,\n      \"rho\": 0.0,\n      \"beta\": 0.0,\n      \"positions\": \"keep\"\n    }\n  ],\n  \"provenance\": {\n    \"design\": \"fastv\"\n  },\n  \"relative\": [\n    {\n      \"place\": \"decoder\",\n      \"depth\": 0.16666666666666666,\n      \"keep\": 0.1111111111111111\n    }\n  ]\n}\n"');
INSERT INTO "trial_user_attributes" VALUES(15,3,'regime','"prune"');
INSERT INTO "trial_user_attributes" VALUES(16,4,'budget','0.3515918842396604');
INSERT INTO "trial_user_attributes" VALUES(17,4,'ray_trial_id','"ray3"');
CREATE TABLE trial_values (
	trial_value_id INTEGER NOT NULL, 
	trial_id INTEGER NOT NULL, 
	objective INTEGER NOT NULL, 
	value FLOAT, 
	value_type VARCHAR(7) NOT NULL, 
	PRIMARY KEY (trial_value_id), 
	UNIQUE (trial_id, objective), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
INSERT INTO "trial_values" VALUES(1,1,0,0.8,'FINITE');
INSERT INTO "trial_values" VALUES(2,1,1,2.30577516321665648701e-01,'FINITE');
INSERT INTO "trial_values" VALUES(3,2,0,8.20000000000000062172e-01,'FINITE');
INSERT INTO "trial_values" VALUES(4,2,1,3.80588612317938501661e-01,'FINITE');
INSERT INTO "trial_values" VALUES(5,3,0,8.40000000000000079936e-01,'FINITE');
INSERT INTO "trial_values" VALUES(6,3,1,1.55200083795225957095e-01,'FINITE');
CREATE TABLE trials (
	trial_id INTEGER NOT NULL, 
	number INTEGER, 
	study_id INTEGER, 
	state VARCHAR(8) NOT NULL, 
	datetime_start DATETIME, 
	datetime_complete DATETIME, 
	PRIMARY KEY (trial_id), 
	FOREIGN KEY(study_id) REFERENCES studies (study_id)
);
INSERT INTO "trials" VALUES(1,0,1,'COMPLETE','2026-11-30 02:34:21.004830','2026-11-30 02:34:21.381859');
INSERT INTO "trials" VALUES(2,1,1,'COMPLETE','2026-11-30 02:34:21.437615','2026-11-30 02:34:21.860033');
INSERT INTO "trials" VALUES(3,2,1,'COMPLETE','2026-11-30 02:34:21.914475','2026-11-30 02:34:22.064796');
INSERT INTO "trials" VALUES(4,3,1,'RUNNING','2026-11-30 02:34:22.084591',NULL);
INSERT INTO "trials" VALUES(5,4,1,'WAITING',NULL,NULL);
CREATE TABLE version_info (
	version_info_id INTEGER NOT NULL, 
	schema_version INTEGER, 
	library_version VARCHAR(256), 
	PRIMARY KEY (version_info_id), 
	CHECK (version_info_id=1)
);
INSERT INTO "version_info" VALUES(1,12,'5.0.0');
CREATE UNIQUE INDEX ix_studies_study_name ON studies (study_name);
CREATE INDEX ix_trials_study_id ON trials (study_id);
COMMIT;
