module terraform-provider-aws

go 1.20

require github.com/terraform-providers/terraform-provider-aws v1.60.1-0.20200807230610-d5346d47e3af
