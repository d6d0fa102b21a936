"""The search attributes of operations, by which lists stay fast; registered by whoever runs Temporal."""

KIND = "SupergiantKind"
STATE = "SupergiantState"
CLUSTER = "SupergiantCluster"
APP = "SupergiantApp"
COMPONENTS = "SupergiantComponents"
TENANT = "SupergiantTenant"
REQUESTER = "SupergiantRequester"

#: Name to Temporal type, as `temporal operator search-attribute create` takes them.
SEARCH_ATTRIBUTES: dict[str, str] = {
    KIND: "Keyword",
    STATE: "Keyword",
    CLUSTER: "Keyword",
    APP: "Keyword",
    COMPONENTS: "KeywordList",
    TENANT: "Keyword",
    REQUESTER: "Keyword",
}
