"""Make the tables of jobs once, as 0001 to 0011 leave them: each change costs SQLite a new table."""

import uuid

import django.core.validators
import django.db.models.deletion
import django.db.models.functions.comparison
import django.db.models.functions.datetime
from django.conf import settings
from django.db import migrations, models


def tune(apps, schema_editor):
    """Leave room in each page of runs for the updates of a lease, so that they stay on it (HOT)."""
    if schema_editor.connection.vendor != "postgresql":
        return
    schema_editor.execute(
        "ALTER TABLE jobs_jobrun SET (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.01,"
        " autovacuum_vacuum_threshold = 1000, autovacuum_analyze_scale_factor = 0.02)"
    )


class Migration(migrations.Migration):
    replaces = [
        ("jobs", "0001_initial"),
        ("jobs", "0002_initial"),
        ("jobs", "0003_storage"),
        ("jobs", "0004_sorts_and_sweeps"),
        ("jobs", "0005_newest_own_run"),
        ("jobs", "0006_describe_changes"),
        ("jobs", "0006_credentials"),
        ("jobs", "0007_message_model"),
        ("jobs", "0008_proposals"),
        ("jobs", "0009_rare_outcomes"),
        ("jobs", "0010_found_runs"),
        ("jobs", "0011_cancelled_by_duration"),
    ]

    initial = True

    dependencies = [
        ("agents", "0006_archived_pools"),
        ("sites", "0011_taken_links"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="Job",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("public_id", models.UUIDField(default=uuid.uuid4, editable=False, unique=True)),
                ("name", models.CharField(max_length=120)),
                ("version", models.CharField(blank=True, max_length=40)),
                ("parameters", models.JSONField(blank=True, default=dict)),
                (
                    "assignment",
                    models.CharField(
                        choices=[
                            ("automatic", "Automatic"),
                            ("agent", "This agent"),
                            ("pool", "This pool"),
                        ],
                        default="automatic",
                        max_length=16,
                    ),
                ),
                (
                    "run_timeout_s",
                    models.PositiveIntegerField(
                        default=3600,
                        validators=[
                            django.core.validators.MinValueValidator(10),
                            django.core.validators.MaxValueValidator(604800),
                        ],
                    ),
                ),
                (
                    "queue_timeout_s",
                    models.PositiveIntegerField(
                        default=86400,
                        validators=[
                            django.core.validators.MinValueValidator(10),
                            django.core.validators.MaxValueValidator(2592000),
                        ],
                    ),
                ),
                ("allow_overlap", models.BooleanField(default=False)),
                ("auto_commit", models.BooleanField(default=True)),
                ("tags", models.JSONField(blank=True, default=list)),
                ("external_id", models.CharField(blank=True, max_length=200)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("updated_at", models.DateTimeField(auto_now=True)),
                ("archived_at", models.DateTimeField(blank=True, editable=False, null=True)),
                (
                    "agent",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="jobs",
                        to="agents.agent",
                    ),
                ),
                (
                    "function",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="jobs",
                        to="agents.function",
                    ),
                ),
                (
                    "organization",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="jobs",
                        to="sites.organization",
                    ),
                ),
                (
                    "owner",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="jobs",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "pool",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="jobs",
                        to="agents.agentpool",
                    ),
                ),
                (
                    "site",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="jobs",
                        to="sites.site",
                    ),
                ),
                (
                    "target",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="jobs",
                        to="sites.target",
                    ),
                ),
                ("describe_changes", models.BooleanField(db_default=False, default=False)),
                ("describe_with_model", models.BooleanField(db_default=False, default=False)),
            ],
            options={
                "ordering": ["name"],
                "default_permissions": (),
                "indexes": [
                    models.Index(fields=["organization", "name"], name="job_of_organization")
                ],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(
                                ("agent__isnull", True),
                                ("assignment", "automatic"),
                                ("pool__isnull", True),
                            ),
                            models.Q(
                                ("agent__isnull", False),
                                ("assignment", "agent"),
                                ("pool__isnull", True),
                            ),
                            models.Q(
                                ("agent__isnull", True),
                                ("assignment", "pool"),
                                ("pool__isnull", False),
                            ),
                            _connector="OR",
                        ),
                        name="job_assignment",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("queue_timeout_s__gte", 10), ("run_timeout_s__gte", 10)
                        ),
                        name="job_limits",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="Claim",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("claim_id", models.UUIDField()),
                ("runs", models.JSONField(default=list)),
                ("at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                (
                    "agent",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="claims",
                        to="agents.agent",
                    ),
                ),
            ],
            options={
                "default_permissions": (),
                "constraints": [
                    models.UniqueConstraint(fields=("agent", "claim_id"), name="claim_once")
                ],
            },
        ),
        migrations.CreateModel(
            name="JobRun",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("public_id", models.UUIDField(default=uuid.uuid4, editable=False, unique=True)),
                ("version", models.CharField(blank=True, max_length=40)),
                ("actual_version", models.CharField(blank=True, max_length=40)),
                ("priority", models.SmallIntegerField(default=0)),
                ("overlap", models.BooleanField(default=False)),
                ("makes_snapshot", models.BooleanField(default=False)),
                ("auto_commit", models.BooleanField(default=True)),
                (
                    "assignment",
                    models.CharField(
                        choices=[
                            ("automatic", "Automatic"),
                            ("agent", "This agent"),
                            ("pool", "This pool"),
                        ],
                        default="automatic",
                        max_length=16,
                    ),
                ),
                (
                    "origin",
                    models.CharField(
                        choices=[("local", "Portal"), ("synced", "Synced"), ("api", "API")],
                        default="local",
                        max_length=8,
                    ),
                ),
                ("tool", models.CharField(blank=True, max_length=60)),
                ("source_system", models.CharField(blank=True, max_length=120)),
                ("target_system", models.CharField(blank=True, max_length=120)),
                ("external_id", models.CharField(blank=True, max_length=200)),
                ("robot", models.CharField(blank=True, max_length=120)),
                ("type", models.CharField(blank=True, max_length=60)),
                ("name", models.CharField(blank=True, max_length=200)),
                ("parameters", models.JSONField(default=dict)),
                ("tags", models.JSONField(default=list)),
                ("data", models.JSONField(default=dict)),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("pending", "Pending"),
                            ("claimed", "Claimed"),
                            ("running", "Running"),
                            ("validating", "Validating"),
                            ("uploading", "Uploading"),
                            ("completed", "Completed"),
                            ("failed", "Failed"),
                            ("canceled", "Canceled"),
                            ("timed_out", "Timed Out"),
                        ],
                        default="pending",
                        max_length=12,
                    ),
                ),
                ("sequence", models.PositiveIntegerField(default=1)),
                ("attempt", models.PositiveIntegerField(default=0)),
                ("lease_losses", models.PositiveSmallIntegerField(default=0)),
                ("lease_until", models.DateTimeField(null=True)),
                ("deadline_at", models.DateTimeField(null=True)),
                ("run_timeout_s", models.PositiveIntegerField(default=3600)),
                ("queue_until", models.DateTimeField(null=True)),
                (
                    "result",
                    models.CharField(
                        blank=True,
                        choices=[
                            ("success", "Success"),
                            ("up_to_date", "Up to Date"),
                            ("modified", "Modified"),
                            ("partial", "Partial"),
                        ],
                        max_length=12,
                    ),
                ),
                (
                    "reason",
                    models.CharField(
                        blank=True,
                        choices=[
                            ("error", "Error"),
                            ("agent_restarted", "The agent was restarted"),
                            ("credential_revoked", "The agent was retired"),
                            ("deadline", "Ran longer than its limit"),
                            ("agent_lost", "The agent fell silent"),
                            ("never_claimed", "No agent took it in time"),
                            ("lease_ended", "Claimed, but not begun in time"),
                        ],
                        max_length=20,
                    ),
                ),
                ("message", models.TextField(blank=True)),
                ("summary", models.TextField(blank=True)),
                ("error", models.TextField(blank=True)),
                ("progress", models.PositiveSmallIntegerField(null=True)),
                ("count_total", models.PositiveIntegerField(null=True)),
                ("count_successful", models.PositiveIntegerField(null=True)),
                ("count_failed", models.PositiveIntegerField(null=True)),
                ("count_skipped", models.PositiveIntegerField(null=True)),
                (
                    "verdict",
                    models.CharField(
                        blank=True,
                        choices=[
                            ("success", "Success"),
                            ("up_to_date", "Up to Date"),
                            ("modified", "Modified"),
                            ("partial", "Partial"),
                        ],
                        max_length=12,
                    ),
                ),
                ("report_hash", models.CharField(blank=True, max_length=64)),
                ("log_length", models.PositiveBigIntegerField(default=0)),
                (
                    "created_at",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now()),
                ),
                ("started_at", models.DateTimeField(null=True)),
                ("finished_at", models.DateTimeField(null=True)),
                (
                    "updated_at",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now()),
                ),
                ("duration_s", models.FloatField(null=True)),
                (
                    "agent",
                    models.ForeignKey(
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="runs",
                        to="agents.agent",
                    ),
                ),
                (
                    "base_snapshot",
                    models.ForeignKey(
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to="sites.snapshot",
                    ),
                ),
                (
                    "claim",
                    models.ForeignKey(
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to="jobs.claim",
                    ),
                ),
                (
                    "function",
                    models.ForeignKey(
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="agents.function",
                    ),
                ),
                (
                    "job",
                    models.ForeignKey(
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="runs",
                        to="jobs.job",
                    ),
                ),
                (
                    "organization",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="runs",
                        to="sites.organization",
                    ),
                ),
                (
                    "queue",
                    models.ForeignKey(
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="runs",
                        to="agents.queue",
                    ),
                ),
                (
                    "requested_agent",
                    models.ForeignKey(
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="agents.agent",
                    ),
                ),
                (
                    "requested_pool",
                    models.ForeignKey(
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="agents.agentpool",
                    ),
                ),
                (
                    "retry_of",
                    models.ForeignKey(
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="retries",
                        to="jobs.jobrun",
                    ),
                ),
                (
                    "site",
                    models.ForeignKey(
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="runs",
                        to="sites.site",
                    ),
                ),
                (
                    "snapshot",
                    models.ForeignKey(
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="runs",
                        to="sites.snapshot",
                    ),
                ),
                (
                    "started_by",
                    models.ForeignKey(
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="runs",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "target",
                    models.ForeignKey(
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="runs",
                        to="sites.target",
                    ),
                ),
                ("describe_changes", models.BooleanField(db_default=False, default=False)),
                (
                    "credential",
                    models.ForeignKey(
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="sites.credential",
                    ),
                ),
                ("describe_with_model", models.BooleanField(db_default=False, default=False)),
                ("message_due", models.BooleanField(db_default=False, default=False)),
            ],
            options={
                "default_permissions": (),
                # As they came over time: of two that serve equally, SQLite takes the later one.
                "indexes": [
                    models.Index(
                        condition=models.Q(("status", "pending")),
                        fields=["queue", "priority", "created_at", "id"],
                        name="run_pending_in_queue",
                    ),
                    models.Index(
                        condition=models.Q(
                            (
                                "status__in",
                                ["pending", "claimed", "running", "validating", "uploading"],
                            )
                        ),
                        fields=["status", "id"],
                        name="run_active",
                    ),
                    models.Index(
                        fields=["organization", "-created_at", "-id"], name="run_of_organization"
                    ),
                    models.Index(fields=["site", "-created_at", "-id"], name="run_of_site"),
                    models.Index(fields=["target", "-created_at", "-id"], name="run_of_target"),
                    models.Index(
                        fields=["started_by", "-created_at", "-id"], name="run_of_starter"
                    ),
                    models.Index(fields=["job", "-created_at", "-id"], name="run_of_job"),
                    models.Index(
                        models.F("organization"),
                        models.OrderBy(
                            models.Func(
                                models.F("finished_at"),
                                output_field=models.DateTimeField(),
                                template="COALESCE(%(expressions)s, '9999-01-01 00:00:00+00')",
                            ),
                            descending=True,
                        ),
                        models.OrderBy(models.F("id"), descending=True),
                        name="run_by_end",
                    ),
                    models.Index(
                        models.F("organization"),
                        models.OrderBy(
                            models.Func(
                                models.F("duration_s"),
                                output_field=models.FloatField(),
                                template="COALESCE(%(expressions)s, -1.0)",
                            ),
                            descending=True,
                        ),
                        models.OrderBy(models.F("id"), descending=True),
                        name="run_by_duration",
                    ),
                    models.Index(
                        models.F("organization"),
                        models.OrderBy(
                            django.db.models.functions.comparison.Coalesce(
                                models.F("started_at"), models.F("created_at")
                            ),
                            descending=True,
                        ),
                        models.OrderBy(models.F("id"), descending=True),
                        name="run_by_start",
                    ),
                    models.Index(
                        fields=["job", "started_by", "-created_at", "-id"],
                        name="run_of_job_by_starter",
                    ),
                    models.Index(
                        condition=models.Q(("message_due", True)),
                        fields=["id"],
                        name="run_message_due",
                    ),
                    models.Index(
                        condition=models.Q(("status", "failed")),
                        fields=["organization", "-created_at", "-id"],
                        name="run_failed",
                    ),
                    models.Index(
                        condition=models.Q(("status__in", ["canceled", "timed_out"])),
                        fields=["organization", "-created_at", "-id"],
                        name="run_cancelled",
                    ),
                    models.Index(
                        condition=models.Q(("status", "completed")),
                        fields=["organization", "result", "-created_at", "-id"],
                        name="run_by_result",
                    ),
                    models.Index(
                        condition=models.Q(
                            ("status__in", ["claimed", "running", "validating", "uploading"])
                        ),
                        fields=["agent", "status"],
                        name="run_held",
                    ),
                    models.Index(fields=["agent", "-created_at", "-id"], name="run_of_agent"),
                    models.Index(fields=["organization", "name"], name="run_of_name"),
                    models.Index(
                        condition=models.Q(("external_id__gt", "")),
                        fields=["organization", "external_id"],
                        name="run_of_external_id",
                        opclasses=["int8_ops", "varchar_pattern_ops"],
                    ),
                    models.Index(
                        models.F("organization"),
                        models.OrderBy(
                            models.Func(
                                models.F("duration_s"),
                                output_field=models.FloatField(),
                                template="COALESCE(%(expressions)s, -1.0)",
                            ),
                            descending=True,
                        ),
                        models.OrderBy(models.F("id"), descending=True),
                        condition=models.Q(("status__in", ["canceled", "timed_out"])),
                        name="run_cancelled_by_duration",
                    ),
                ],
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(
                            ("overlap", False),
                            ("status__in", ["claimed", "running", "validating", "uploading"]),
                        ),
                        fields=("target", "function"),
                        name="run_one_at_a_time",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            (
                                "status__in",
                                [
                                    "pending",
                                    "claimed",
                                    "running",
                                    "validating",
                                    "uploading",
                                    "completed",
                                    "failed",
                                    "canceled",
                                    "timed_out",
                                ],
                            )
                        ),
                        name="run_status",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(
                                ("finished_at__isnull", False),
                                ("status__in", ["completed", "failed", "canceled", "timed_out"]),
                            ),
                            models.Q(
                                ("finished_at__isnull", True),
                                (
                                    "status__in",
                                    ["pending", "claimed", "running", "validating", "uploading"],
                                ),
                            ),
                            _connector="OR",
                        ),
                        name="run_finished_when_final",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(
                                ("result__in", ["success", "up_to_date", "modified", "partial"]),
                                ("status", "completed"),
                            ),
                            models.Q(
                                models.Q(("status", "completed"), _negated=True), ("result", "")
                            ),
                            _connector="OR",
                        ),
                        name="run_result_when_completed",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("progress__isnull", True), ("progress__lte", 100), _connector="OR"
                        ),
                        name="run_progress",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(
                                ("origin", "local"),
                                ("status__in", ["claimed", "running", "validating", "uploading"]),
                                _negated=True,
                            ),
                            models.Q(("agent__isnull", False), ("lease_until__isnull", False)),
                            _connector="OR",
                        ),
                        name="run_held_by_an_agent",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="StatusTransition",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("sequence", models.PositiveIntegerField()),
                (
                    "from_status",
                    models.CharField(
                        blank=True,
                        choices=[
                            ("pending", "Pending"),
                            ("claimed", "Claimed"),
                            ("running", "Running"),
                            ("validating", "Validating"),
                            ("uploading", "Uploading"),
                            ("completed", "Completed"),
                            ("failed", "Failed"),
                            ("canceled", "Canceled"),
                            ("timed_out", "Timed Out"),
                        ],
                        max_length=12,
                    ),
                ),
                (
                    "to_status",
                    models.CharField(
                        choices=[
                            ("pending", "Pending"),
                            ("claimed", "Claimed"),
                            ("running", "Running"),
                            ("validating", "Validating"),
                            ("uploading", "Uploading"),
                            ("completed", "Completed"),
                            ("failed", "Failed"),
                            ("canceled", "Canceled"),
                            ("timed_out", "Timed Out"),
                        ],
                        max_length=12,
                    ),
                ),
                ("at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                (
                    "reason",
                    models.CharField(
                        blank=True,
                        choices=[
                            ("error", "Error"),
                            ("agent_restarted", "The agent was restarted"),
                            ("credential_revoked", "The agent was retired"),
                            ("deadline", "Ran longer than its limit"),
                            ("agent_lost", "The agent fell silent"),
                            ("never_claimed", "No agent took it in time"),
                            ("lease_ended", "Claimed, but not begun in time"),
                        ],
                        max_length=20,
                    ),
                ),
                ("message", models.TextField(blank=True)),
                (
                    "agent",
                    models.ForeignKey(
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="agents.agent",
                    ),
                ),
                (
                    "run",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="transitions",
                        to="jobs.jobrun",
                    ),
                ),
                (
                    "user",
                    models.ForeignKey(
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "ordering": ["run", "sequence"],
                "default_permissions": (),
                "constraints": [
                    models.UniqueConstraint(fields=("run", "sequence"), name="transition_sequence")
                ],
            },
        ),
        migrations.CreateModel(
            name="RunInput",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("public_id", models.UUIDField(default=uuid.uuid4, editable=False, unique=True)),
                ("name", models.CharField(max_length=255)),
                ("media_type", models.CharField(max_length=120)),
                ("size", models.PositiveBigIntegerField()),
                ("sha256", models.CharField(max_length=64)),
                ("storage_name", models.CharField(max_length=300)),
                (
                    "created_at",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now()),
                ),
                (
                    "run",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="inputs",
                        to="jobs.jobrun",
                    ),
                ),
            ],
            options={
                "ordering": ["id"],
                "default_permissions": (),
                "indexes": [models.Index(fields=["storage_name"], name="input_by_stored_name")],
            },
        ),
        migrations.CreateModel(
            name="RunFile",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("public_id", models.UUIDField()),
                ("name", models.CharField(max_length=255)),
                ("media_type", models.CharField(max_length=120)),
                ("size", models.PositiveBigIntegerField()),
                ("sha256", models.CharField(max_length=64)),
                ("storage_name", models.CharField(max_length=300)),
                (
                    "created_at",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now()),
                ),
                (
                    "run",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="files",
                        to="jobs.jobrun",
                    ),
                ),
            ],
            options={
                "ordering": ["id"],
                "default_permissions": (),
                "constraints": [
                    models.UniqueConstraint(fields=("run", "public_id"), name="run_file_once")
                ],
            },
        ),
        migrations.CreateModel(
            name="RunLog",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("offset", models.PositiveBigIntegerField()),
                ("size", models.PositiveIntegerField()),
                ("sha256", models.CharField(max_length=64)),
                ("text", models.TextField()),
                ("at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                (
                    "run",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="log",
                        to="jobs.jobrun",
                    ),
                ),
            ],
            options={
                "ordering": ["run", "offset"],
                "default_permissions": (),
                "constraints": [
                    models.UniqueConstraint(fields=("run", "offset"), name="run_log_offset")
                ],
            },
        ),
        migrations.CreateModel(
            name="RunRecord",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("sequence", models.PositiveIntegerField()),
                ("record_id", models.CharField(blank=True, max_length=200)),
                ("name", models.CharField(blank=True, max_length=300)),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("success", "Success"),
                            ("failed", "Failed"),
                            ("skipped", "Skipped"),
                        ],
                        max_length=8,
                    ),
                ),
                ("result", models.TextField(blank=True)),
                ("error", models.TextField(blank=True)),
                ("processed_at", models.DateTimeField(null=True)),
                (
                    "run",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="records",
                        to="jobs.jobrun",
                    ),
                ),
            ],
            options={
                "ordering": ["run", "sequence"],
                "default_permissions": (),
                "constraints": [
                    models.UniqueConstraint(fields=("run", "sequence"), name="run_record_sequence")
                ],
            },
        ),
        migrations.CreateModel(
            name="LateReport",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("attempt", models.PositiveIntegerField()),
                ("report", models.JSONField()),
                ("at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                (
                    "agent",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="agents.agent",
                    ),
                ),
                (
                    "run",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="late_reports",
                        to="jobs.jobrun",
                    ),
                ),
            ],
            options={
                "ordering": ["id"],
                "default_permissions": (),
                "constraints": [
                    models.UniqueConstraint(fields=("run", "attempt"), name="late_report_once")
                ],
            },
        ),
        migrations.CreateModel(
            name="Proposal",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("open", "Open"),
                            ("accepted", "Accepted"),
                            ("rejected", "Rejected"),
                            ("superseded", "Superseded"),
                        ],
                        default="open",
                        max_length=10,
                    ),
                ),
                (
                    "created_at",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now()),
                ),
                ("decided_at", models.DateTimeField(null=True)),
                ("comment", models.TextField(blank=True)),
                (
                    "decided_by",
                    models.ForeignKey(
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "organization",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="sites.organization",
                    ),
                ),
                (
                    "run",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="proposal",
                        to="jobs.jobrun",
                    ),
                ),
                (
                    "site",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="sites.site",
                    ),
                ),
                (
                    "started_by",
                    models.ForeignKey(
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "superseded_by",
                    models.ForeignKey(
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to="jobs.proposal",
                    ),
                ),
                (
                    "target",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="proposals",
                        to="sites.target",
                    ),
                ),
            ],
            options={
                "default_permissions": (),
                "indexes": [
                    models.Index(
                        fields=["organization", "-created_at", "-id"],
                        name="proposal_of_organization",
                    ),
                    models.Index(
                        condition=models.Q(("state", "open")),
                        fields=["organization", "-created_at", "-id"],
                        name="proposal_open",
                    ),
                ],
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("state", "open")),
                        fields=("target",),
                        name="proposal_one_open",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(
                                ("comment", ""),
                                ("decided_by", None),
                                ("state__in", ["open", "superseded"]),
                            ),
                            models.Q(
                                ("decided_at__isnull", False),
                                ("state__in", ["accepted", "rejected"]),
                                ("decided_by__isnull", False),
                                models.Q(("comment", ""), _negated=True),
                            ),
                            _connector="OR",
                        ),
                        name="proposal_decided",
                    ),
                ],
            },
        ),
        migrations.RunPython(tune, migrations.RunPython.noop),
    ]
