control "a" do
end
