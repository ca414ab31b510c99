import time

import fiftyone.operators as foo
import fiftyone.operators.types as types


class EmbedRegions(foo.Operator):
    @property
    def config(self):
        return foo.OperatorConfig(
            name="embed_regions",
            label="Embed regions",
            dynamic=True,
            execute_as_generator=True,
            allow_delegated_execution=True,
            light_icon="/assets/embed-light.svg",
            dark_icon="/assets/embed-dark.svg",
            risk_level=types.RiskLevel.MEDIUM,
        )

    def resolve_placement(self, ctx):
        return types.Placement(
            types.Places.SAMPLES_GRID_SECONDARY_ACTIONS,
            types.Button(
                label=self.config.label,
                light_icon=self.config.light_icon,
                dark_icon=self.config.dark_icon,
                prompt=True,
            ),
        )

    def resolve_input(self, ctx):
        inputs = types.Object()
        inputs.view_target(ctx, action_description="Embed the regions of")
        p = inputs.str("key", label="Name", required=True, default="regions")
        if ctx.params.get("key") == "bad":
            p.invalid = True
            p.error_message = "the name must match"
        return types.Property(inputs, view=types.View(label="Embed regions"))

    def execute(self, ctx):
        if ctx.params.get("key") == "eager":
            raise ValueError("eager failure")
        return self._go(ctx)

    def _go(self, ctx):
        for i in range(10):
            yield ctx.ops.set_progress(label=f"{i} of 10", progress=i / 10)
            time.sleep(0.5)
            if ctx.params.get("key") == "late":
                raise ValueError("late failure")
        outputs = types.Object()
        outputs.int("n", label="Embedded")
        yield ctx.ops.show_output(types.Property(outputs).to_json(), {"n": 3})
