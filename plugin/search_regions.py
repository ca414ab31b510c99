import fiftyone.operators as foo
import fiftyone.operators.types as types
import time


class SearchRegions(foo.Operator):
    @property
    def config(self):
        return foo.OperatorConfig(
            name="search_regions",
            label="Search regions",
            dynamic=True,
            execute_as_generator=True,
            light_icon="/assets/search-light.svg",
            dark_icon="/assets/search-dark.svg",
            risk_level=types.RiskLevel.LOW,
        )

    def resolve_placement(self, ctx):
        return types.Placement(
            types.Places.SAMPLES_GRID_SECONDARY_ACTIONS,
            types.Button(
                label=self.config.label,
                icon=self.config.light_icon,
                light_icon=self.config.light_icon,
                dark_icon=self.config.dark_icon,
                prompt=True,
            ),
        )

    def resolve_input(self, ctx):
        inputs = types.Object()
        inputs.view_target(ctx, action_description="Search")
        p = inputs.str("key", label="Name", required=True, default="regions")
        return types.Property(
            inputs, view=types.PromptView(label="Search regions", submit_button_label="Search")
        )

    def execute(self, ctx):
        k = ctx.params.get("key")
        if "p" in k:
            yield ctx.ops.set_progress(label="Searching", variant="circular")
        time.sleep(1.5)
        ds = ctx.dataset
        if "e" in k:
            outputs = types.Object()
            outputs.view(
                "error",
                types.Error(
                    label="Nothing was embedded",
                    description="the field `x` holds no regions: choose another",
                ),
            )
            yield ctx.ops.show_output(types.Property(outputs).to_json(), {})
            raise ValueError("x")
        yield ctx.ops.set_view(ds.to_patches("ground_truth").limit(3))
        if "o" in k:
            outputs = types.Object()
            outputs.int("n", label="Embedded")
            yield ctx.ops.show_output(types.Property(outputs).to_json(), {"n": 3})
        yield ctx.ops.notify("3 regions for 'red', cosine 0.4 to 0.3", variant="success")
