// A vCenter for the tests: VMware's own simulator, with a datacenter DC0, on loopback and a port of its own choice.
//
// It says where it listens, and ends with its standard input. It answers each line there with one:
//
//	fail METHOD FAULT TIMES: the next calls of a method fail for session, permission, space, down or taken
//	state MACHINE STATE:     a machine is connected, disconnected, inaccessible, …
package main

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"log"
	"net/url"
	"os"

	"github.com/vmware/govmomi/simulator"
	_ "github.com/vmware/govmomi/vapi/simulator" // content libraries, at /rest
	"github.com/vmware/govmomi/vim25/types"
)

var faults = map[string]types.BaseMethodFault{
	"session":    &types.NotAuthenticated{},
	"permission": &types.NoPermission{PrivilegeId: "VirtualMachine.Inventory.Delete"},
	"space":      &types.NoDiskSpace{Datastore: "LocalDS_0"},
	"down":       &types.HostCommunication{},
	"taken":      &types.DuplicateName{Name: "another", Object: types.ManagedObjectReference{Type: "Folder", Value: "group-d1"}},
}

func main() {
	model := simulator.VPX()
	model.Autostart = false
	if err := model.Create(); err != nil {
		log.Fatal(err)
	}
	model.Service.Listen = &url.URL{Host: "127.0.0.1:0", User: url.UserPassword(os.Args[1], os.Args[2])}
	model.Service.TLS = new(tls.Config)
	model.Service.RegisterEndpoints = true
	server := model.Service.NewServer()
	fmt.Println(server.URL.Host)
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		var of, how string
		var times int
		if _, err := fmt.Sscanf(lines.Text(), "fail %s %s %d", &of, &how, &times); err == nil && faults[how] != nil {
			model.Service.AddFaultRule(&simulator.FaultInjectionRule{
				MethodName: of, ObjectType: "*", ObjectName: "*", Probability: 1, MaxCount: times, Enabled: true,
				FaultType: simulator.FaultTypeCustom, Fault: faults[how],
			})
		} else if _, err := fmt.Sscanf(lines.Text(), "state %s %s", &of, &how); err == nil {
			context := model.Service.Context
			for _, one := range context.Map.All("VirtualMachine") {
				if vm := one.(*simulator.VirtualMachine); vm.Name == of {
					state := types.VirtualMachineConnectionState(how)
					context.Update(vm, []types.PropertyChange{{Name: "runtime.connectionState", Val: state}})
				}
			}
		} else {
			log.Fatalf("not understood: %s", lines.Text())
		}
		fmt.Println("so be it")
	}
	server.Close()
	model.Remove()
}
