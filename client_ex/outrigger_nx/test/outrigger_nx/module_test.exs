defmodule Outrigger.Nx.ModuleTest do
  # Tensors that are made while a module is compiled, and without this package's application.
  use ExUnit.Case
  alias Outrigger.Nx.Backend

  @source """
  defmodule Outrigger.Nx.ModuleTest.Attributes do
    import Nx.Defn

    @list Nx.tensor([1, 2, 3])
    @scalar Nx.tensor(2.5)
    @made Nx.add(Nx.iota({3}), Nx.multiply(Nx.eye(3), 2))
    @key Nx.Random.key(42)
    @mutable Nx.tensor([7], backend: {Outrigger.Nx.Backend, mutable: true})
    def all, do: [@list, @scalar, @made, @key, @mutable]

    defn scale(x), do: x * @list + @scalar
  end
  """

  setup do
    before =
      {Nx.global_default_backend(Backend), Nx.Defn.global_default_options(compiler: Outrigger.Nx)}

    on_exit(fn ->
      Nx.global_default_backend(elem(before, 0))
      Nx.Defn.global_default_options(elem(before, 1))
    end)
  end

  test "module attributes hold elements and no handles" do
    [{module, _} | _] = Code.compile_string(@source)
    tensors = module.all()
    for t <- tensors, do: assert(%Nx.BinaryBackend{} = t.data)
    key = Nx.with_default_backend(Nx.BinaryBackend, fn -> Nx.to_list(Nx.Random.key(42)) end)
    made = [[2, 1, 2], [0, 3, 2], [0, 1, 4]]
    values = for t <- tensors, do: if(Nx.shape(t) == {}, do: Nx.to_number(t), else: Nx.to_list(t))
    assert values == [[1, 2, 3], 2.5, made, key, [7]]
    # In a function, they are used as any other.
    scaled = module.scale(Nx.tensor([1, 1, 2]))
    assert %Backend{} = scaled.data
    assert Nx.to_list(scaled) == [3.5, 4.5, 8.5]
    assert %Backend{} = Nx.tensor([1]).data
  after
    :code.purge(__MODULE__.Attributes)
    :code.delete(__MODULE__.Attributes)
  end

  describe "in a VM where the application does not run" do
    setup do
      paths = for path <- :code.get_path(), do: [~c"-pa", path]
      {:ok, peer, _} = :peer.start_link(%{connection: :standard_io, args: Enum.concat(paths)})
      {:ok, _} = :peer.call(peer, :application, :ensure_all_started, [:nx])
      %{peer: peer}
    end

    defp eval(peer, source), do: :peer.call(peer, Code, :eval_string, [source], 60_000)

    test "a module is compiled that makes tensors", %{peer: peer} do
      source = """
      Nx.global_default_backend(Outrigger.Nx.Backend)
      Nx.Defn.global_default_options(compiler: Outrigger.Nx)
      #{@source}
      for t <- Outrigger.Nx.ModuleTest.Attributes.all(), do: t.data.__struct__
      """

      assert {modules, _} = eval(peer, source)
      assert Enum.uniq(modules) == [Nx.BinaryBackend]
    end

    test "a function that needs the application raises", %{peer: peer} do
      for expression <- [
            "Nx.tensor([1, 2])",
            "Nx.iota({3})",
            "Nx.add(1, 2)",
            "Nx.Defn.jit(&Nx.add(&1, 1), compiler: Outrigger.Nx).(1)"
          ] do
        source = """
        try do
          Nx.with_default_backend(Outrigger.Nx.Backend, fn -> #{expression} end)
        rescue
          error -> Exception.message(error)
        end
        """

        assert {message, _} = eval(peer, source)
        assert message =~ "Application.ensure_all_started(:outrigger_nx)"
      end
    end
  end
end
