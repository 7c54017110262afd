"""The form of a saved job; the fields of its parameters are made from their JSON Schema."""

from decimal import Decimal
from typing import Any

from django import forms
from django.db.models import Q

from agents.catalogue import newest_version, secret_parameters
from agents.models import Agent, AgentPool, Assignment, Function
from agents.permissions import agent_policy, function_policy, pool_policy
from agents.schemas import SecretNames
from jobs import doubts, limits, message_model
from jobs.forms.fields import as_text, dress, field_for
from jobs.forms.schedule import JobScheduleForm, minutes
from jobs.masking import shown_parameters
from jobs.models import Job
from jobs.models.job import LONGEST_RETRY_WAIT_S, MOST_RETRIES, retried
from jobs.states import RETRIED
from sites.masking import NotRestored, restored
from sites.models import Organization, Target, User
from sites.permissions import target_policy

# Ten seconds, which is the least that a job takes, as the form shows them.
LEAST = Decimal("0.17")
TOO_SHORT = "Give at least 0.17 minutes: ten seconds is the shortest limit."


class JobForm(forms.Form):
    """Name, target, parameters, who carries it out, limits. Saves nothing by itself.

    On a job that exists, target and function stay as they are: another target is another job.
    """

    name = forms.CharField(label="Name", max_length=120)
    target = forms.ModelChoiceField(label="Target", queryset=Target.objects.none())
    who = forms.ChoiceField(
        label="Agent",
        help_text="Automatic: the first agent of the site that can do it, has a free slot "
        "and is in no restricted pool.",
    )
    run_timeout = forms.DecimalField(
        label="Timeout, minutes",
        min_value=LEAST,
        max_value=7 * 24 * 60,
        decimal_places=2,
        required=False,
        error_messages={"min_value": TOO_SHORT},
        help_text="A run that takes longer is stopped and ends as Timed Out.",
    )
    queue_timeout = forms.DecimalField(
        label="Longest wait, minutes",
        min_value=LEAST,
        max_value=30 * 24 * 60,
        decimal_places=2,
        required=False,
        error_messages={"min_value": TOO_SHORT},
        help_text="A run that no agent takes within this time ends as Timed Out.",
    )
    retries = forms.IntegerField(
        label="Tried again, times",
        min_value=0,
        max_value=MOST_RETRIES,
        required=False,
        initial=0,
        help_text="A run that ended badly is started again by itself; 0: never.",
    )
    retry_wait = forms.DecimalField(
        label="First wait before that, minutes",
        min_value=LEAST,
        max_value=LONGEST_RETRY_WAIT_S // 60,
        decimal_places=2,
        required=False,
        initial=5,
        help_text="It doubles with each try, up to a day.",
    )
    retry_reasons = forms.MultipleChoiceField(
        label="Tried again after",
        choices=[(str(reason), reason.label) for reason in RETRIED],
        required=False,
        initial=retried,
        widget=forms.CheckboxSelectMultiple,
    )
    tags = forms.CharField(
        label="Tags", required=False, max_length=400, help_text="Separated by commas."
    )
    auto_commit = forms.BooleanField(
        label="A change that is found becomes the accepted backup at once",
        required=False,
        initial=True,
    )
    describe_changes = forms.BooleanField(
        label="The commit message of a backup says what changed",
        required=False,
        help_text="Else it reads “Backup of …” and the time. Secrets in changed lines are hidden.",
    )
    describe_with_model = forms.BooleanField(required=False)

    def __init__(
        self,
        *args: Any,
        user: User,
        organization: Organization,
        function: Function,
        job: Job | None = None,
        model: Job | None = None,
        **kwargs: Any,
    ) -> None:
        """Edit `job`, or make a new one, which begins as what may be read of `model`."""
        super().__init__(*args, **kwargs)
        self.job, self.function = job, function
        shown_of = job or model
        target = self.fields["target"]
        assert isinstance(target, forms.ModelChoiceField)
        if job is None:
            target.queryset = (
                target_policy.rows(
                    user,
                    "create_job",
                    Target.objects.filter(organization=organization, archived_at__isnull=True),
                )
                .select_related("site")
                .order_by("site__name", "name")
            )
            target.label_from_instance = _name_with_site  # type: ignore[method-assign, assignment]
            target.to_field_name = "public_id"
            target.empty_label = "Choose a target"
        else:
            del self.fields["target"]
        self._offer_agents(user, organization, job)
        version = newest_version(function, job.version if job else "")
        self.schema: dict[str, Any] = version.parameters if version else {}
        self.makes_snapshot = bool(version and version.produces == version.Produces.SNAPSHOT)
        if not self.makes_snapshot:
            del self.fields["auto_commit"], self.fields["describe_changes"]
        if self.makes_snapshot and message_model.host():
            described = self.fields["describe_with_model"]
            described.label = f"… in the words of the language model at {message_model.host()}"
            described.help_text = "Changed lines, with secrets hidden, are sent there."
        else:
            del self.fields["describe_with_model"]
        self.secret = secret_parameters(function) or SecretNames()
        if shown_of is not None:
            # Also what holds a secret deep inside.
            stored = shown_of.parameters
            shown = shown_parameters(function, stored)
            deep = {name for name in shown if shown[name] != stored[name]}
            self.secret = SecretNames.of_all([self.secret, SecretNames(frozenset(deep))])
        self.parameter_names = self._add_parameters()
        if shown_of is not None and not self.is_bound:
            self.initial.update(self._initial_of(shown_of))
            if job is None:
                self.initial["name"] = f"{shown_of.name} (copy)"
        self._say_limits(shown_of)
        self.schedule = JobScheduleForm(self.data if self.is_bound else None, planned=shown_of)
        self._dress_all()

    def _say_limits(self, job: Job | None) -> None:
        """Say what holds where a limit is left empty; of a new job the site is not known yet."""
        of_site = limits.of_site(job.site if job else None)
        for name, seconds in zip(("run_timeout", "queue_timeout"), of_site, strict=True):
            known = f", {minutes(seconds)} minutes" if job else ""
            self.fields[name].help_text += f" Empty: as the site says{known}."

    def _offer_agents(self, user: User, organization: Organization, job: Job | None) -> None:
        agents = agent_policy.rows(
            user, "choose", Agent.objects.in_use().filter(organization=organization)
        )
        pools = pool_policy.rows(
            user, "choose", AgentPool.objects.filter(organization=organization)
        )
        if job is not None:
            agents = agents.filter(Q(site=None) | Q(site=job.site_id))
        able = doubts.choices(organization.pk, self.function, job.version if job else "")
        seen = agents.with_state().select_related("site")  # type: ignore[attr-defined]
        self.agents = {str(agent.public_id): agent for agent in seen}
        self.pools = {str(pool.public_id): pool for pool in pools}
        if job is not None and job.agent:
            self.agents.setdefault(str(job.agent.public_id), job.agent)
        if job is not None and job.pool:
            self.pools.setdefault(str(job.pool.public_id), job.pool)
        field = self.fields["who"]
        assert isinstance(field, forms.ChoiceField)
        self._warn_of_sites(able, job)
        field.choices = [
            ("automatic", "Automatic"),
            *((f"agent:{key}", able.with_agent(agent)) for key, agent in self.agents.items()),
            *((f"pool:{key}", able.with_pool(pool)) for key, pool in self.pools.items()),
        ]

    def _warn_of_sites(self, able: doubts.Choices, job: Job | None) -> None:
        """Say where an automatic run would find nobody now, before it is chosen."""
        if job is not None:
            places = [(job.site_id, job.site.name)]
        else:
            target: Any = self.fields["target"]
            places = [
                tuple(row)
                for row in target.queryset.order_by().values_list("site", "site__name").distinct()
            ]
        self.fields["who"].help_text += able.of_sites(places)

    def _add_parameters(self) -> list[str]:
        required = set(self.schema.get("required", []))
        names = []
        for name, rule in self.schema.get("properties", {}).items():
            if not isinstance(rule, dict):
                continue
            key = f"p_{name}"
            # Nothing stands for a secret that is kept: a choice must be able to be empty too.
            needed = name in required and name not in self.secret
            self.fields[key] = field_for(name, rule, required=needed)
            if name in self.secret:
                if isinstance(field := self.fields[key], forms.CharField):
                    # A blank at an end may be part of a password.
                    field.strip = False
                if isinstance(self.fields[key].widget, forms.TextInput | forms.NumberInput):
                    self.fields[key].widget = forms.PasswordInput(attrs={"autocomplete": "off"})
                stored = self.job is not None and name in self.job.parameters
                if stored:
                    # Else saving the form would put the schema's default in its place.
                    self.fields[key].initial = None
                self.fields[key].help_text = "Shown to nobody once saved." + (
                    " Empty keeps what is there." if stored else ""
                )
                if stored and name not in required:
                    self.fields[f"x_{name}"] = forms.BooleanField(
                        label=f"Remove the stored value of {self.fields[key].label}",
                        required=False,
                    )
            names.append(key)
        return names

    def _dress_all(self) -> None:
        for form in (self, self.schedule):
            for name, field in form.fields.items():
                dress(field, wrong=form.is_bound and name in form.errors)

    def is_valid(self) -> bool:
        """Look at both halves, so that all that is wrong is said at once."""
        return all([super().is_valid(), self.schedule.is_valid()])

    def _initial_of(self, job: Job) -> dict[str, Any]:
        who = "automatic"
        if job.agent:
            who = f"agent:{job.agent.public_id}"
        elif job.pool:
            who = f"pool:{job.pool.public_id}"
        values = {
            "name": job.name,
            "who": who,
            "run_timeout": job.run_timeout_s and minutes(job.run_timeout_s),
            "queue_timeout": job.queue_timeout_s and minutes(job.queue_timeout_s),
            "retries": job.retries,
            "retry_wait": minutes(job.retry_wait_s),
            "retry_reasons": job.retry_reasons,
            "tags": ", ".join(job.tags),
            "auto_commit": job.auto_commit,
            "describe_changes": job.describe_changes,
            "describe_with_model": job.describe_with_model,
        }
        for name, value in job.parameters.items():
            if f"p_{name}" in self.fields and name not in self.secret:
                values[f"p_{name}"] = as_text(self.fields[f"p_{name}"], value)
        return values

    def clean_tags(self) -> list[str]:
        """Cut the tags at their commas, each once."""
        return list(
            dict.fromkeys(t.strip() for t in self.cleaned_data["tags"].split(",") if t.strip())
        )

    def clean(self) -> dict[str, Any]:
        """Refuse to keep a secret that is not shown when it would go to another address."""
        data = super().clean() or {}
        if self.job is not None:
            kept = self.job.parameters
            hidden = shown_parameters(self.function, kept)
            sent = {
                name: hidden[name] if self._keeps(name) else value
                for name, value in self.parameters().items()
            }
            try:
                restored(sent, kept)
            except NotRestored as error:
                self._ask_anew(error)
        return data

    def _keeps(self, name: str) -> bool:
        """Say whether a parameter stays as it is stored, since the form does not show it."""
        if (
            self.job is None
            or name not in self.job.parameters
            or self.cleaned_data.get(f"x_{name}")
        ):
            return False
        key = f"p_{name}"
        return key not in self.fields or (
            name in self.secret and _is_empty(self.cleaned_data.get(key))
        )

    def _ask_anew(self, error: NotRestored) -> None:
        name = str(error.path[0])
        key = f"p_{name}"
        if not error.where:
            self.add_error(key if key in self.fields else None, str(error))
            return
        if key not in self.fields:
            words = (
                f"The address was changed (“{error.where}”), and the stored secret “{name}” goes to"
                " no other one. This form does not show it: make another job for the new address."
            )
            self.add_error(None, words)
            return
        remove = self.fields.get(f"x_{name}")
        self.add_error(
            key,
            f"The address was changed (“{error.where}”), and the stored secret goes to no other"
            f" one: write “{name}” out again" + (f", or tick “{remove.label}”." if remove else "."),
        )

    def parameters(self) -> dict[str, Any]:
        """Collect the parameters: empty ones are left out, an empty secret stays as it was."""
        kept = dict(self.job.parameters) if self.job else {}
        found = {name: value for name, value in kept.items() if f"p_{name}" not in self.fields}
        for key in self.parameter_names:
            name, value = key.removeprefix("p_"), self.cleaned_data.get(key)
            if self._keeps(name):
                value = kept[name]
            if value not in (None, "", []) or (
                value == [] and name in self.schema.get("required", [])
            ):
                found[name] = float(value) if isinstance(value, Decimal) else value
        return found

    @property
    def refused(self) -> bool:
        """Whether anything that was sent is wrong."""
        return bool(self.errors or self.schedule.errors)

    def apply(self, job: Job) -> Job:
        """Set what the form says on a job, without saving it."""
        data = self.cleaned_data
        job.name, job.tags = data["name"], data["tags"]
        if self.job is None:
            job.target, job.function = data["target"], self.function
        kind, _, key = data["who"].partition(":")
        job.assignment = Assignment(kind)
        job.agent, job.pool = self.agents.get(key), self.pools.get(key)
        for name in ("run_timeout", "queue_timeout"):
            setattr(job, f"{name}_s", None if data[name] is None else round(data[name] * 60))
        if data["retries"] is not None:
            job.retries = data["retries"]
        if data["retry_wait"] is not None:
            # As the field shows ten seconds: 0.17 minutes.
            job.retry_wait_s = max(round(data["retry_wait"] * 60), 10)
        if job.retries or data["retry_reasons"]:
            job.retry_reasons = data["retry_reasons"]
        job.auto_commit = data.get("auto_commit", job.auto_commit)
        job.describe_changes = data.get("describe_changes", job.describe_changes)
        worded = data.get("describe_with_model", job.describe_with_model)
        job.describe_with_model = job.describe_changes and worded
        self.schedule.apply(job)
        job.parameters = self.parameters()
        return job

    def take(self, errors: dict[str, list[str]]) -> None:
        """Put what the rule refused beside the fields that it is about."""
        for name, texts in errors.items():
            words = name.split(".")
            if words[0] == "schedule":
                self.schedule.take({name: texts})
                continue
            field: str | None = {"agent": "who", "pool": "who", "assignment": "who"}.get(name, name)
            if words[0] == "parameters" and len(words) > 1:
                field = f"p_{words[1]}"
            if name in ("run_timeout_s", "queue_timeout_s", "retry_wait_s"):
                field = name.removesuffix("_s")
            for text in texts:
                self.add_error(field if field in self.fields else None, text)
        self._dress_all()

    def advanced(self) -> list[forms.BoundField]:
        """Give the fields that most jobs leave as they are."""
        late = [self.schedule[name] for name in ("overlap", "grace", "spread", "site_order")]
        again = [self["retries"], self["retry_wait"], self["retry_reasons"]]
        return [self["queue_timeout"], *again, *late, self["tags"]]

    def advanced_errors(self) -> bool:
        """Say whether one of them was refused."""
        return any(field.errors for field in self.advanced())

    def parameter_fields(self) -> list[forms.BoundField]:
        """Give the fields made from the function's schema, each secret's with its remover."""
        removers = ((key, f"x_{key.removeprefix('p_')}") for key in self.parameter_names)
        return [self[name] for pair in removers for name in pair if name in self.fields]


def functions_for(user: User, organization: Organization) -> Any:
    """List the functions that a new job can name."""
    return (
        function_policy.rows(user, "view", Function.objects.filter(organization=organization))
        .select_related("tool")
        .order_by("tool__name", "name")
    )


def _name_with_site(target: Target) -> str:
    return f"{target.name}, {target.site.name}"


def _is_empty(value: Any) -> bool:
    """Say whether a field was left as it came; a zero or {} that was written is no such value."""
    return value is None or value is False or value == "" or value == []
