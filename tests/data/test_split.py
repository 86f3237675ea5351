from nerf3d.data.split import by_name, hold_out


def test_every_eighth_by_name():
    names = [f"{i:03d}.jpg" for i in range(20)]
    train, test = hold_out(names[::-1])
    assert [names[::-1][i] for i in test] == ["000.jpg", "008.jpg", "016.jpg"]
    assert sorted(train + test) == list(range(20))
    assert len(train) == 17
    assert [names[::-1][i] for i in train] == sorted(set(names) - {"000.jpg", "008.jpg", "016.jpg"})


def test_none_is_held_out_where_too_few_would_be_left():
    assert hold_out(["a", "b", "c", "d"]) == ([1, 2, 3], [0])
    assert hold_out(["c", "b", "a"]) == ([2, 1, 0], [])
    assert hold_out(["a"]) == ([0], [])
    assert hold_out([]) == ([], [])


def test_own_split():
    names = ["d", "c", "b", "a"]
    assert by_name(names, train=["a", "c"], test=["b"]) == ([3, 1], [2])
    assert by_name(names, train=[], test=["b", "d"]) == ([3, 1], [2, 0])
    assert by_name(names, train=["b", "d"], test=[]) == ([2, 0], [3, 1])


def test_views_on_both_sides_are_only_tested():
    assert by_name(["a", "b", "c"], train=["a", "b", "c"], test=["b"]) == ([0, 2], [1])
