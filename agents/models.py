"""Agents, their pools, what they can do, and the queues that they take runs from."""

import uuid

from django.core.exceptions import ValidationError
from django.db import models
from django.utils.functional import cached_property
from guardian.models import GroupObjectPermissionBase, UserObjectPermissionBase

from sites.models import Organization, Pausable, Site, User

from .querysets import TAKES_NONE, AgentQuerySet


class Agent(Pausable):
    """A program at a site (or, without one, for all sites of its organization)."""

    public_id = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    organization = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="agents")
    site = models.ForeignKey(
        Site, null=True, blank=True, on_delete=models.PROTECT, related_name="agents"
    )
    name = models.CharField(max_length=120)
    slots = models.PositiveSmallIntegerField(default=2)
    draining = models.BooleanField(default=False)
    token_hash = models.CharField(max_length=64, blank=True, editable=False)
    # The token that takes its place at its first use; until then both work.
    next_token_hash = models.CharField(
        max_length=64, blank=True, default="", db_default="", editable=False
    )
    # The agent is asked to change its token, and has not used another one since.
    rotating = models.BooleanField(default=False, db_default=False, editable=False)
    version = models.CharField(max_length=60, blank=True, editable=False)
    platform = models.CharField(max_length=200, blank=True, editable=False)
    address = models.GenericIPAddressField(null=True, blank=True, editable=False)
    created_by = models.ForeignKey(
        User, null=True, blank=True, editable=False, on_delete=models.SET_NULL, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)
    enrolled_at = models.DateTimeField(null=True, editable=False)
    retired_at = models.DateTimeField(null=True, editable=False)
    state: str  # where `with_state` was asked for it

    objects = AgentQuerySet.as_manager()

    class Meta:
        ordering = ["name"]
        default_permissions = ()
        constraints = [
            models.UniqueConstraint(
                fields=["organization", "name"],
                condition=models.Q(retired_at__isnull=True),
                name="agent_name_once",
            ),
            models.CheckConstraint(
                condition=models.Q(slots__gte=1, slots__lte=64), name="agent_slots"
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @cached_property
    def takes_runs(self) -> bool:
        """Whether it may take new runs; `agent_of_token` reads it along with the row."""
        return not Agent.objects.filter(TAKES_NONE, pk=self.pk).exists()

    def clean(self) -> None:
        if self.site and self.site.organization_id != self.organization_id:
            raise ValidationError({"site": "This site belongs to another organization."})


class AgentPresence(models.Model):
    """When an agent was last heard of: a narrow row of its own, since it changes every 15 s."""

    agent = models.OneToOneField(
        Agent, primary_key=True, on_delete=models.CASCADE, related_name="presence"
    )
    seen_at = models.DateTimeField()
    # Whether its loss was announced: losing and regaining an agent are one Event each.
    lost = models.BooleanField(default=False)

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.agent_id} seen {self.seen_at}"


class EnrolmentCode(models.Model):
    """A code that turns one program into this agent, once, within the hour."""

    agent = models.ForeignKey(Agent, on_delete=models.CASCADE, related_name="codes")
    code_hash = models.CharField(max_length=64, unique=True, editable=False)
    expires_at = models.DateTimeField()
    used_at = models.DateTimeField(null=True)
    created_by = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"code for {self.agent}"


class WrongCodes(models.Model):
    """How many wrong enrolment codes came from an address since its minute began."""

    address = models.CharField(max_length=45, unique=True)
    count = models.PositiveSmallIntegerField(default=1)
    until = models.DateTimeField()

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.count} from {self.address}"


class AgentPool(models.Model):
    """A named set of agents; a restricted one can be chosen by those it was granted to alone."""

    public_id = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    organization = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="pools")
    name = models.CharField(max_length=120)
    restricted = models.BooleanField(default=False)
    agents = models.ManyToManyField(Agent, blank=True, related_name="pools")
    created_at = models.DateTimeField(auto_now_add=True)
    archived_at = models.DateTimeField(null=True, editable=False)

    class Meta:
        ordering = ["name"]
        default_permissions = ()
        permissions = [("operate_agentpool", "Choose this pool for a job or run")]
        constraints = [
            models.UniqueConstraint(
                fields=["organization", "name"],
                condition=models.Q(archived_at__isnull=True),
                name="pool_name_once",
            )
        ]

    def __str__(self) -> str:
        return self.name


class PoolUserPermission(UserObjectPermissionBase):
    content_object = models.ForeignKey(AgentPool, on_delete=models.CASCADE)

    class Meta(UserObjectPermissionBase.Meta):
        default_permissions = ()


class PoolGroupPermission(GroupObjectPermissionBase):
    content_object = models.ForeignKey(AgentPool, on_delete=models.CASCADE)

    class Meta(GroupObjectPermissionBase.Meta):
        default_permissions = ()


class Tool(models.Model):
    """What agents of an organization bring along, such as `folder`."""

    organization = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="tools")
    name = models.CharField(max_length=60)

    class Meta:
        ordering = ["name"]
        default_permissions = ()
        constraints = [
            models.UniqueConstraint(fields=["organization", "name"], name="tool_name_once")
        ]

    def __str__(self) -> str:
        return self.name


class Function(models.Model):
    """One thing a tool does, whatever its version: what jobs name and what excludes itself."""

    public_id = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    organization = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="+")
    tool = models.ForeignKey(Tool, on_delete=models.CASCADE, related_name="functions")
    name = models.CharField(max_length=60)

    class Meta:
        ordering = ["tool__name", "name"]
        default_permissions = ()
        constraints = [models.UniqueConstraint(fields=["tool", "name"], name="function_name_once")]

    def __str__(self) -> str:
        return f"{self.tool.name}.{self.name}"


class FunctionVersion(models.Model):
    """A function as one version of its tool has it; immutable once advertised."""

    class Produces(models.TextChoices):
        SNAPSHOT = "snapshot", "A snapshot"
        FILES = "files", "Files"
        NOTHING = "nothing", "Nothing"

    function = models.ForeignKey(Function, on_delete=models.CASCADE, related_name="versions")
    version = models.CharField(max_length=40)
    title = models.CharField(max_length=120, blank=True)
    produces = models.CharField(max_length=16, choices=Produces, default=Produces.NOTHING)
    takes = models.JSONField(default=list)  # media types of input files
    parameters = models.JSONField(default=dict)  # a JSON Schema, draft 2020-12
    agents = models.ManyToManyField(Agent, related_name="functions")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["function", "-created_at"]
        default_permissions = ()
        constraints = [
            models.UniqueConstraint(fields=["function", "version"], name="function_version_once")
        ]

    def __str__(self) -> str:
        return f"{self.function} {self.version}"


class Assignment(models.TextChoices):
    """Who is to carry out a run."""

    AUTOMATIC = "automatic", "Automatic"
    AGENT = "agent", "This agent"
    POOL = "pool", "This pool"


class Queue(models.Model):
    """Runs that exactly the same agents may take: a run is put in one when it is made.

    An agent's queues are few, and a claim looks at the head of each; OR-ing the conditions
    over all pending runs scanned 200,000 index entries instead.
    """

    # What makes it this queue, in one column: unique constraints take nulls for distinct.
    key = models.CharField(max_length=160, unique=True)
    organization = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="+")
    site = models.ForeignKey(Site, on_delete=models.CASCADE, related_name="+")
    function = models.ForeignKey(Function, on_delete=models.CASCADE, related_name="+")
    version = models.CharField(max_length=40, blank=True)  # empty: any version
    assignment = models.CharField(max_length=16, choices=Assignment)
    agent = models.ForeignKey(Agent, null=True, on_delete=models.CASCADE, related_name="+")
    pool = models.ForeignKey(AgentPool, null=True, on_delete=models.CASCADE, related_name="+")

    class Meta:
        default_permissions = ()
        constraints = [
            models.CheckConstraint(
                condition=models.Q(assignment="automatic", agent__isnull=True, pool__isnull=True)
                | models.Q(assignment="agent", agent__isnull=False, pool__isnull=True)
                | models.Q(assignment="pool", agent__isnull=True, pool__isnull=False),
                name="queue_assignment",
            ),
        ]
        indexes = [
            models.Index(
                fields=["organization", "site"],
                condition=models.Q(assignment="automatic"),
                name="queue_automatic",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.function} at {self.site}, {self.get_assignment_display()}"
