"""Who may do what with agents, pools and the catalogue of functions."""

from django.db.models import Q

from sites.access import ADMINISTRATOR, MANAGER, Grants, Policy, Rule, by_grant, by_role, superuser
from sites.models import Target

from .models import Agent, AgentPool, Function


def _serving_granted_target(grants: Grants) -> Q | None:
    """The agents of the site at which a granted target stands."""
    ids = grants.objects("target", "view")
    return Q(site__in=Target.objects.filter(pk__in=ids).values("site")) if ids else None


def _open_to(rule: Rule) -> Rule:
    """Of the agents of a rule, those that no restricted pool keeps for others."""

    def narrowed(grants: Grants) -> Q | None:
        agents = rule(grants)
        if agents is None:
            return None
        members = AgentPool.agents.through._default_manager.all()
        reserved = members.filter(agentpool__restricted=True).values("agent")
        granted = members.filter(agentpool__in=grants.objects("pool", "operate")).values("agent")
        return agents & (~Q(pk__in=reserved) | Q(pk__in=granted))

    return narrowed


_SEEN = [by_grant("view", "site", "site"), _serving_granted_target, MANAGER, ADMINISTRATOR]

agent_policy = Policy(
    Agent,
    {
        "view": [*_SEEN, superuser],
        # For a job or run: the agents of a restricted pool are for those it was granted to.
        "choose": [_open_to(rule) for rule in _SEEN],
        "manage": [by_grant("manage", "site", "site"), ADMINISTRATOR, superuser],
    },
)


def _in_use(rule: Rule) -> Rule:
    """Of the pools of a rule, those that were not archived."""

    def narrowed(grants: Grants) -> Q | None:
        pools = rule(grants)
        return None if pools is None else pools & Q(archived_at=None)

    return narrowed


def _unrestricted(grants: Grants) -> Q | None:
    ids = grants.organizations()
    return Q(restricted=False, organization__in=ids) if ids else None


def _of_granted_site(grants: Grants) -> Q | None:
    """The pools in which an agent of a granted site is."""
    ids = grants.objects("site", "view")
    members = AgentPool.agents.through._default_manager.filter(agent__site__in=ids)
    return Q(pk__in=members.values("agentpool")) if ids else None


pool_policy = Policy(
    AgentPool,
    {
        "view": [
            _of_granted_site,
            by_grant("operate", "pool", "pk"),
            MANAGER,
            ADMINISTRATOR,
            superuser,
        ],
        "choose": [_in_use(_unrestricted), _in_use(by_grant("operate", "pool", "pk"))],
        "manage": [ADMINISTRATOR, superuser],
    },
)

# What the organization's agents can do is no secret among its members.
function_policy = Policy(Function, {"view": [by_role(), superuser]})
