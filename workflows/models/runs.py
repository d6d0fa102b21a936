"""What passes between the outer workflow and the inner workflow of one component."""

from activities.models.common import Message
from workflows.models.operations import OnFailure
from workflows.models.plans import ComponentPlan
from workflows.models.steps import Said, StoryState


class RunComponent(Message):
    """Carry out the plan of one component. `together`: it is one of several, so after seeing that its facts
    hold it waits for "go". After its last step, every story waits for "settle" or a cancel."""

    operation: str
    cluster: str
    tenant: str
    requester: str
    plan: ComponentPlan
    on_failure: OnFailure = OnFailure.PARK
    together: bool = False


class Report(Message):
    """Told to the outer workflow whenever where the story stands has changed. `checked`: its facts hold and it
    waits for "go"; `told`: its steps are done and it waits for "settle"; `said`: what people decided since
    the last report."""

    component: str
    state: StoryState
    checked: bool = False
    told: bool = False
    no_way_back: str = ""
    reason: str = ""
    said: list[Said] = []
