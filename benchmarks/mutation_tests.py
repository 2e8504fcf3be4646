"""Which tests judge a mutant of which file: the nearest first, each a list of arguments of pytest.

A mutant survives if all of them pass. What is near is chosen by hand: all tests together would take
thirteen minutes for each mutant.
"""

CONTRACT = "tests/contract/test_agent_contract.py"
BONUS_CONTRACT = "tests/contract/test_bonus_contract.py"
SUM = "tests/wiring/test_sum.py"
WIRING = "tests/wiring/test_wiring.py"

Steps = list[list[str]]


def _agent(names: str, *own: str) -> Steps:
    """Return the tests of an agent's file: its own, then what is held of all agents, for these."""
    return [[f"tests/agents/{each}.py"] for each in own] + [
        [SUM, "-k", names],
        [CONTRACT, "-k", names],
    ]


def _bonus(names: str, *own: str) -> Steps:
    return [[f"tests/bonuses/{each}.py"] for each in own] + [[BONUS_CONTRACT, "-k", names]]


def _of(package: str, files: dict[str, Steps]) -> dict[str, Steps]:
    return {f"{package}/{name}.py": steps for name, steps in files.items()}


TESTS: dict[str, Steps] = {
    "loop.py": [
        [SUM, "-k", "A2C or REINFORCE or DQN"],
        [WIRING],
        ["tests/ops/test_nonfinite.py"],
        ["tests/run/test_divergence.py"],
        ["tests/bonuses/test_vime_latent.py"],
    ],
    "host_loop.py": [[SUM, "-k", "REINFORCE or DQN"], [WIRING, "-k", "drivers"]],
    "adapters/stream.py": [
        ["tests/adapters/test_adapter_gymnasium.py"],
        ["tests/adapters/test_adapter_wiring.py"],
        ["tests/adapters/test_adapter_spaces.py"],
    ],
    "ops/returns.py": [["tests/ops/test_returns.py"], ["tests/numerics/test_retrace.py"]],
    "ops/replay.py": [
        ["tests/ops/test_replay.py"],
        ["tests/auxiliaries/test_auxiliaries.py", "-k", "skewed"],
    ],
    **_of(
        "agents",
        {
            "a2c": _agent("A2C", "test_actor_critic"),
            "action_values": _agent("MPO or SoftQ", "test_mpo"),
            "actor_critic": _agent("A2C or PPO", "test_actor_critic"),
            "critic": _agent("REINFORCE", "test_on_policy", "test_bonus_critic"),
            "dqn": _agent("DQN", "test_dqn"),
            "erwr": _agent("ERWR", "test_erwr"),
            "experience": _agent("DQN or SoftQ", "test_dqn", "test_pixels"),
            "frames": [["tests/agents/test_frames.py"]],
            "mpo": _agent("MPO", "test_mpo"),
            "mpo_critic": _agent("MPO", "test_mpo"),
            "mpo_policy": _agent("MPO", "test_mpo"),
            "on_policy": _agent("REINFORCE or TRPO", "test_on_policy", "test_bonus_critic"),
            "ppo": _agent("PPO", "test_actor_critic"),
            "reinforce": _agent("REINFORCE", "test_reinforce"),
            "sight": [["tests/agents/test_pixels.py"], ["tests/agents/test_on_policy.py"]],
            "soft_q": _agent("SoftQ", "test_soft_q"),
            "soft_q_sampler": _agent("SoftQ", "test_soft_q"),
            "tabular_q": _agent("TabularQ", "test_tabular_q"),
            "trpo": _agent("TRPO", "test_trpo"),
            "unreal": _agent("UNREAL", "test_unreal"),
            "unrolling": _agent("A2C", "test_actor_critic", "test_bonus_critic"),
        },
    ),
    **_of(
        "bonuses",
        {
            "combine": _bonus("Sum or Scale or Decay", "test_combine"),
            "count": _bonus("Count", "test_count"),
            "curiosity": _bonus("ICM or RIDE", "test_icm", "test_ride"),
            "disagreement": _bonus("Disagreement", "test_disagreement"),
            "dynamics": _bonus("VIME or MaxInfo", "test_vime", "test_max_info", "test_vime_latent"),
            "e3b": _bonus("E3B", "test_e3b"),
            "episodic": _bonus("Episodic", "test_episodic"),
            "hash_count": _bonus("HashCount", "test_count"),
            "icm": _bonus("ICM", "test_icm"),
            "kernel_count": _bonus("NGU or RIDE", "test_episodic", "test_ngu", "test_ride"),
            "max_info": _bonus("MaxInfo", "test_max_info"),
            "ngu": _bonus("NGU", "test_ngu"),
            "normalize": _bonus("MedianRatio", "test_combine", "test_vime"),
            "prediction_error": _bonus("PredictionError", "test_disagreement", "test_surprise"),
            "pseudo_count": _bonus("PseudoCount", "test_pseudo_count"),
            "re3": _bonus("RE3", "test_re3"),
            "ride": _bonus("RIDE", "test_ride"),
            "rnd": _bonus("RND", "test_rnd"),
            "running_std": _bonus("RunningStd", "test_rnd", "test_combine"),
            "several": _bonus("Sum", "test_combine"),
            "surprise": _bonus("Surprise", "test_surprise"),
            "transitions": _bonus("Surprise", "test_surprise", "test_disagreement"),
            "vime": _bonus("VIME", "test_vime"),
        },
    ),
}
