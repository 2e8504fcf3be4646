"""The closed form of the information gain against one gradient per row: error, time, memory."""

from functools import partial

import common
import jax
import jax.numpy as jnp
import numpy as np

from explorax.nets import bayes

ROWS = 5000
LIKELIHOOD_STD, STEP_SIZE = 5.0, 0.01


def one_gradient_per_row(network, params, x, y, noise):
    """½ λ² Σ σ² (g_μ² + g_σ²/2) from `vmap(grad)` of the same loss."""

    def one(x, y, noise):
        def loss(params):
            outputs, _ = network.apply({"params": params}, x[None], noise)
            return bayes.negative_log_likelihood(outputs, y[None], LIKELIHOOD_STD).sum()

        gradient = jax.grad(loss)(params)
        total = 0.0
        for name, layer in params.items():
            std = jax.nn.softplus(layer["rho"])
            over_std = gradient[name]["rho"] / jax.nn.sigmoid(layer["rho"])
            total += jnp.sum(std**2 * (gradient[name]["mean"] ** 2 + over_std**2 / 2))
        return 0.5 * STEP_SIZE**2 * total

    rows = x.shape[0]
    own = tuple(
        jnp.broadcast_to(e, (e.shape[0], rows, e.shape[2])).swapaxes(0, 1)[:, :, None]
        for e in noise
    )
    return jax.vmap(one)(x, y, own)


def temporaries(program):
    analysis = program.memory_analysis()
    assert analysis is not None
    return analysis.temp_size_in_bytes


def problem(sizes, samples, rows, own_noise=False):
    """Return (network, (params, x, y, noise))."""
    inputs, *hidden, outputs = sizes
    network = bayes.BayesianMLP(tuple(hidden), outputs)
    keys = jax.random.split(jax.random.key(0), 4)
    params = bayes.initialise(network, keys[0], inputs)
    x = jax.random.normal(keys[1], (rows, inputs))
    y = jax.random.normal(keys[2], (rows, outputs))
    return network, (params, x, y, network.draw_noise(keys[3], samples, rows if own_noise else 1))


def closed_form(network, params, x, y, noise):
    return bayes.information_gain(
        network, params, x, y, noise, likelihood_std=LIKELIHOOD_STD, step_size=STEP_SIZE
    )


def compiled(function, network, arguments):
    return jax.jit(partial(function, network)).lower(*arguments).compile()


def memory_rows():
    """Return lines of (net, weights, rows, MiB of the closed form and of vmap(grad))."""
    lines = []
    for sizes in ((24, 32, 32, 18), (24, 128, 128, 18)):
        for rows in (1250, 2500, 5000, 20_000):
            network, arguments = problem(sizes, 1, rows)
            weights = sum(leaf.size for leaf in jax.tree.leaves(arguments[0]))
            programs = [
                compiled(f, network, arguments) for f in (closed_form, one_gradient_per_row)
            ]
            mib = [f"{temporaries(program) / 2**20:,.1f}" for program in programs]
            lines.append(["-".join(map(str, sizes)), f"{weights:,}", f"{rows:,}", *mib])
    return lines


def measure(sizes, samples, shared):
    network, arguments = problem(sizes, samples, ROWS, own_noise=not shared)

    def gradient_step(network, params, x, y, noise):
        def loss(params):
            return bayes.negative_elbo(
                network,
                params,
                x,
                y,
                noise,
                likelihood_std=LIKELIHOOD_STD,
                prior_std=0.5,
                batches=5.0,
            )

        return jax.tree.map(lambda p, g: p - 1e-6 * g, params, jax.grad(loss)(params))

    functions = (closed_form, one_gradient_per_row, gradient_step)
    programs = [compiled(function, network, arguments) for function in functions]
    fast, slow = programs[0](*arguments), programs[1](*arguments)
    error = float(jnp.max(jnp.abs(fast - slow) / slow))
    rounds = [
        [common.seconds(lambda p=p: p(*arguments), 1 if p is programs[1] else 9) for p in programs]
        for _ in range(3)
    ]
    times = np.median(rounds, axis=0)
    memory = [temporaries(program) / 2**20 for program in programs]
    return error, times, memory


def main() -> None:
    rows = []
    net = (24, 64, 64, 18)
    cases = [(net, 1, True), (net, 1, False), (net, 10, True), ((24, 32, 18), 1, True)]
    for sizes, samples, shared in cases:
        error, (closed, naive, step), memory = measure(sizes, samples, shared)
        rows.append(
            [
                "-".join(map(str, sizes)),
                str(samples),
                "shared" if shared else "per row",
                f"{error:.1e}",
                f"{1e3 * closed:.1f}",
                f"{1e3 * step:.1f}",
                f"{1e3 * naive:.0f}",
                f"{closed / step:.2f}",
                f"{naive / closed:.0f}",
                f"{memory[0]:.1f}",
                f"{memory[1]:.0f}",
            ]
        )
    common.write(
        "gain",
        f"Information gain of {ROWS} rows",
        [
            "net",
            "samples",
            "noise",
            "largest relative error",
            "closed form, ms",
            "gradient step, ms",
            "vmap(grad), ms",
            "closed / step",
            "vmap(grad) / closed",
            "closed, MiB",
            "vmap(grad), MiB",
        ],
        rows,
        "The gradient step is one of the same network on the same rows. Memory is what XLA sets "
        "aside for temporaries. Medians of three rounds.",
        second=(
            "Memory of scoring grows with rows times width, and stops at 8,192 rows, which go "
            "through at once; that of `vmap(grad)` grows with rows times weights. One sample.",
            ["net", "means and deviations", "rows", "closed, MiB", "vmap(grad), MiB"],
            memory_rows(),
        ),
    )


if __name__ == "__main__":
    main()
