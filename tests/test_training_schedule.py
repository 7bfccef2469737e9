"""Learning rates at the steps where they can be worked out by hand."""
import pytest

from numpyvision.training import schedule


def test_warmup_cosine_by_hand():
    lr = schedule.warmup_cosine(2.0, total_steps=110, warmup_steps=10, warmup_factor=0.5, final_factor=0.1)
    assert lr(0) == pytest.approx(1.0) and lr(5) == pytest.approx(1.5) and lr(10) == pytest.approx(2.0)
    assert lr(60) == pytest.approx(2.0 * 0.55)            # half way: (1 + 0.1) / 2
    assert lr(110) == pytest.approx(0.2) and lr(10**6) == pytest.approx(0.2)


def test_warmup_cosine_never_rises_after_warmup_and_never_falls_in_it():
    lr = schedule.warmup_cosine(1.0, 300, 50)
    rates = [lr(s) for s in range(300)]
    assert rates[0] == pytest.approx(1e-3) and rates[:51] == sorted(rates[:51]) and rates[50:] == sorted(rates[50:], reverse=True)


def test_warmup_cosine_without_warmup_or_without_anything_else():
    assert schedule.warmup_cosine(1.0, 10)(0) == 1.0
    assert schedule.warmup_cosine(1.0, 10, warmup_steps=10)(9) == pytest.approx(1e-3 + 0.9 * 0.999)


def test_warmup_step_by_hand():
    lr = schedule.warmup_step(1.0, [10, 20], gamma=0.1, warmup_steps=4, warmup_factor=0.0)
    assert [lr(s) for s in (0, 1, 4, 9)] == [0.0, 0.25, 1.0, 1.0]
    assert lr(10) == pytest.approx(0.1) and lr(19) == pytest.approx(0.1) and lr(20) == pytest.approx(0.01)


def test_constant():
    assert schedule.constant(0.3)(0) == schedule.constant(0.3)(10**9) == 0.3


@pytest.mark.parametrize("make, text", [
    (lambda: schedule.warmup_cosine(1.0, 5, warmup_steps=10), "shorten the warm-up"),
    (lambda: schedule.warmup_cosine(1.0, 0), "total_steps"),
    (lambda: schedule.warmup_cosine(float("nan"), 5), "base_lr"), (lambda: schedule.warmup_step(1.0, [20, 10]), "rising"),
    (lambda: schedule.warmup_step(1.0, [], warmup_factor=2), "warmup_factor")])
def test_wrong_settings_are_refused(make, text):
    with pytest.raises(ValueError, match=text):
        make()
