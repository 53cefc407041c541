//! What a policy says, field by field, once for drafts and for what is shown.

/// Defines a struct with fields of its own, and with those of a policy's contents.
macro_rules! with_contents {
    ($(#[$meta:meta])* pub struct $name:ident { $($(#[$own_meta:meta])* pub $own:ident: $kind:ty,)* }) => {
        $(#[$meta])*
        pub struct $name {
            $($(#[$own_meta])* pub $own: $kind,)*
            /// For people, on one line; the policy's key is made of its first one.
            #[schema(min_length = 1, max_length = 200, example = "Block GitHub destructive tools")]
            pub name: String,
            /// The connector that it speaks of. Not beside `cedar`, which says so itself; null where that speaks of
            /// several.
            #[serde(default)]
            #[schema(value_type = Option<String>, max_length = 32, example = "github")]
            pub service: Option<ServiceKey>,
            /// Whether it allows or denies; not beside `cedar`.
            #[serde(default)]
            pub effect: Option<PolicyEffect>,
            /// Tools by name, without prefix; MCP's methods of the connector too (`resources/read`).
            #[serde(default)]
            #[schema(value_type = Vec<String>, max_items = 1000, example = json!(["delete_file", "merge_pull_request"]))]
            pub tools: BTreeSet<ToolName>,
            /// Tools by tier, those to come too.
            #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
            #[schema(value_type = Vec<Tier>, max_items = 3)]
            pub tiers: BTreeSet<Tier>,
            /// Whose calls; every member's where absent.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub principal: Option<PolicyPrincipal>,
            /// What a denied caller is told; on a forbid alone.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            #[schema(max_length = 500, example = "Destructive GitHub operations are blocked.")]
            pub deny_message: Option<String>,
            /// How much it tells a denied caller of itself; absent: what the gate's `policies.show` says. Not beside
            /// `cedar`, whose text may have an `@show`.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub show: Option<Show>,
            /// When it holds.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub time_constraints: Option<TimeConstraints>,
            /// On these repositories alone.
            #[serde(default, skip_serializing_if = "Vec::is_empty")]
            #[schema(max_items = 1000)]
            pub repo_restrictions: Vec<RepositoryRestriction>,
            /// On all repositories but these.
            #[serde(default, skip_serializing_if = "Vec::is_empty")]
            #[schema(max_items = 1000)]
            pub repo_exceptions: Vec<RepositoryRestriction>,
            /// In these channels alone, by id.
            #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
            #[schema(value_type = Vec<String>, max_items = 1000)]
            pub channel_restrictions: BTreeSet<String>,
            /// In all channels but these.
            #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
            #[schema(value_type = Vec<String>, max_items = 1000)]
            pub channel_exceptions: BTreeSet<String>,
            /// On these pages alone, by id.
            #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
            #[schema(value_type = Vec<String>, max_items = 1000)]
            pub page_restrictions: BTreeSet<String>,
            /// On all pages but these.
            #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
            #[schema(value_type = Vec<String>, max_items = 1000)]
            pub page_exceptions: BTreeSet<String>,
            /// What the call acts on.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub resource_conditions: Option<ResourceConditions>,
            /// What the conversation, or the member, did so far: all of these.
            #[serde(default, skip_serializing_if = "Vec::is_empty")]
            #[schema(max_items = 50)]
            pub session_conditions: Vec<CounterCondition>,
            /// Where the call comes from: all of these.
            #[serde(default, skip_serializing_if = "Vec::is_empty")]
            #[schema(max_items = 50)]
            pub network_conditions: Vec<NetworkCondition>,
            /// What the tool is called with: all of these.
            #[serde(default, skip_serializing_if = "Vec::is_empty")]
            #[schema(max_items = 50)]
            pub argument_conditions: Vec<ArgumentCondition>,
            /// One policy in Cedar, in the place of all fields but `name` and `denyMessage`; without `@id`, `@name`
            /// and `@denyMessage`.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            #[schema(max_length = 65536)]
            pub cedar: Option<String>,
        }

        impl $name {
            /// Puts in what the policy says.
            pub(super) fn put(&mut self, text: &PolicyText) {
                match text {
                    PolicyText::Cedar(stored) => {
                        let (cedar, deny_message) = crate::policy::unannotated(stored);
                        self.cedar = Some(cedar.to_owned());
                        self.deny_message = deny_message;
                    }
                    PolicyText::Structured(policy) => self.put_structured(policy),
                }
            }

            fn put_structured(&mut self, policy: &StructuredPolicy) {
                self.service = Some(policy.service.clone());
                self.effect = Some(policy.effect);
                self.tools = policy.tools.clone();
                self.tiers = policy.tiers.clone();
                self.principal = Some(policy.principal.clone());
                self.deny_message = policy.deny_message.clone();
                self.show = policy.show;
                self.time_constraints = policy.time_constraints.clone();
                self.repo_restrictions = policy.repo_restrictions.clone();
                self.repo_exceptions = policy.repo_exceptions.clone();
                self.channel_restrictions = policy.channel_restrictions.clone();
                self.channel_exceptions = policy.channel_exceptions.clone();
                self.page_restrictions = policy.page_restrictions.clone();
                self.page_exceptions = policy.page_exceptions.clone();
                self.resource_conditions = policy.resource_conditions.clone();
                self.session_conditions = policy.session_conditions.clone();
                self.network_conditions = policy.network_conditions.clone();
                self.argument_conditions = policy.argument_conditions.clone();
            }
        }
    };
}
pub(super) use with_contents;
