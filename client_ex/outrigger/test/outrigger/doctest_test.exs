defmodule Outrigger.DoctestTest do
  use ExUnit.Case, async: true
  alias Outrigger.{InPlace, Op}

  # The generated docs come from the catalogue, which has no examples.
  doctest Outrigger
  doctest Outrigger.Creation
  doctest Outrigger.Files
  doctest Outrigger.Names
  doctest Outrigger.Read
  doctest Outrigger.Program
  doctest Outrigger.Status
  doctest Op
  doctest InPlace
  doctest Outrigger.Catalogue

  # The functions of a module with a doc, as `{name, arity}`.
  defp documented(module) do
    {:docs_v1, _, _, _, _, _, docs} = Code.fetch_docs(module)
    for {{:function, name, arity}, _, _, %{"en" => _}, _} <- docs, do: {name, arity}
  end

  test "Outrigger has the functions of its modules" do
    for module <- [
          Outrigger.Creation,
          Outrigger.Files,
          Outrigger.Names,
          Outrigger.Read,
          Outrigger.Program,
          Outrigger.Status
        ] do
      missing = documented(module) -- [{:trace, 1} | documented(Outrigger)]
      assert {module, missing} == {module, []}
    end
  end

  test "each function of Outrigger has a doc and a spec" do
    {:docs_v1, _, _, _, _, _, docs} = Code.fetch_docs(Outrigger)
    {:ok, specs} = Code.Typespec.fetch_specs(Outrigger)
    functions = for {{:function, name, arity}, _, _, _, _} <- docs, do: {name, arity}
    assert length(functions) > 50
    assert functions -- documented(Outrigger) == []
    assert functions -- Enum.map(specs, &elem(&1, 0)) == []
  end
end
